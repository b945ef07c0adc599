//! PostgreSQL's 64-bit hash of a byte string (Bob Jenkins' lookup3, as `hashtextextended` computes it), so that both sides of a
//! comparison can compute the same number. It finds differences that happen; it is not made to resist an adversary.

pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    // PostgreSQL takes the length as a 32-bit number and lets the sum wrap; a value has less than 1 GB.
    let length = u32::try_from(bytes.len()).expect("a row in hex is shorter than 4 GiB");
    let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
    let (mut a, mut b, mut c) = (start, start, start);
    if seed != 0 {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = seed.to_be_bytes();
        a = a.wrapping_add(u32::from_be_bytes([s0, s1, s2, s3]));
        b = b.wrapping_add(u32::from_be_bytes([s4, s5, s6, s7]));
        mix(&mut a, &mut b, &mut c);
    }
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        a = a.wrapping_add(word(&block[0..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..12]));
        mix(&mut a, &mut b, &mut c);
    }
    // The lowest byte of `c` is left out of the tail: lookup3 keeps it for the length.
    let mut tail = [0u8; 13];
    for (index, byte) in blocks.remainder().iter().enumerate() {
        tail[if index < 8 { index } else { index + 1 }] = *byte;
    }
    a = a.wrapping_add(word(&tail[0..4]));
    b = b.wrapping_add(word(&tail[4..8]));
    c = c.wrapping_add(word(&tail[8..12]));
    finish(&mut a, &mut b, &mut c);
    (u64::from(b) << 32) | u64::from(c)
}

#[inline]
fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline]
fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    for (x, y, z, by) in
        [(0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4)]
    {
        let mut v = [*a, *b, *c];
        v[x] = v[x].wrapping_sub(v[y]) ^ v[y].rotate_left(by);
        v[y] = v[y].wrapping_add(v[z]);
        [*a, *b, *c] = v;
    }
}

#[inline]
fn finish(a: &mut u32, b: &mut u32, c: &mut u32) {
    for (x, y, by) in [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)] {
        let mut v = [*a, *b, *c];
        v[x] = (v[x] ^ v[y]).wrapping_sub(v[y].rotate_left(by));
        [*a, *b, *c] = v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by PostgreSQL 15: `hashtextextended(left('abc…', n), seed)` for seeds 0, 1 and -1.
    const VECTORS: [(usize, i64, i64, i64); 10] = [
        (0, -6939563903564495251, -150071773020461347, -5142811166230430645),
        (1, 3591986179850072241, 3325245193489759299, 8688456822845412000),
        (4, -1038429303365892052, -9042268383291675265, -8506387423880103258),
        (8, -8882191227074733005, -996835456672934620, 3589487173844465705),
        (9, -3278210106038014113, 5773402991589158274, -2999851607155231060),
        (11, 3112909444737856467, 8196382510784792041, 2833918571160852060),
        (12, -7556637188122330412, -6429754808531195817, -3669402583748189229),
        (13, 8871624171452417744, 3808842878744369845, 6205390682044465928),
        (24, -1933194731779935345, -731882798451170301, -1203456767747787834),
        (36, -9049552497159076100, -2082128406719352852, 7822736524944875629),
    ];

    #[test]
    fn gives_the_numbers_postgresql_gives() {
        let text = b"abcdefghijklmnopqrstuvwxyz0123456789";
        for (length, zero, one, minus_one) in VECTORS {
            for (seed, expected) in [(0, zero), (1, one), (u64::MAX, minus_one)] {
                assert_eq!(hash(&text[..length], seed).cast_signed(), expected, "{length} {seed}");
            }
        }
    }
}
