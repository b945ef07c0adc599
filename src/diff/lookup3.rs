//! PostgreSQL's 64-bit hash of a byte string (Bob Jenkins' lookup3, as `hashtextextended` computes it), so that both sides of a
//! comparison can compute the same number. It finds differences that happen; it is not made to resist an adversary.

/// The seeds that a digest is made of, the same in `postgres/digest`.
pub const SEEDS: [u64; 2] = [0, 1];

/// Hashes a text under both seeds.
pub fn hash_text(text: &[u8]) -> [u64; 2] {
    let mut states = SEEDS.map(|seed| State::new(text.len(), seed));
    let mut blocks = text.chunks_exact(12);
    for block in &mut blocks {
        states.iter_mut().for_each(|state| state.block(block));
    }
    states.map(|state| state.finish(blocks.remainder()))
}

/// Hashes the hex text of bytes that come in pieces, without ever holding that text.
#[derive(Debug)]
pub struct HexHasher {
    states: [State; 2],
    /// Bytes that do not fill a block yet; a block of twelve digits is six bytes.
    rest: [u8; 6],
    filled: usize,
}

impl HexHasher {
    /// `bytes` is how many are to come: lookup3 begins with the length.
    pub fn new(bytes: usize) -> HexHasher {
        HexHasher { states: SEEDS.map(|seed| State::new(2 * bytes, seed)), rest: [0; 6], filled: 0 }
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let taken = bytes.len().min(6 - self.filled);
            self.rest[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < 6 {
                return;
            }
            let digits = hex_block(&self.rest);
            self.states.iter_mut().for_each(|state| state.block(&digits));
            self.filled = 0;
        }
        let mut blocks = bytes.chunks_exact(6);
        for block in &mut blocks {
            let digits = hex_block(block);
            self.states.iter_mut().for_each(|state| state.block(&digits));
        }
        let rest = blocks.remainder();
        self.rest[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    pub fn finish(self) -> [u64; 2] {
        let digits = hex_block(&self.rest);
        self.states.map(|state| state.finish(&digits[..2 * self.filled]))
    }
}

/// Two digits a byte.
pub const HEX: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

#[inline]
fn hex_block(bytes: &[u8]) -> [u8; 12] {
    let mut digits = [0; 12];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&HEX[usize::from(*byte)]);
    }
    digits
}

#[derive(Clone, Copy, Debug)]
struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: usize, seed: u64) -> State {
        // PostgreSQL takes the length as a 32-bit number and lets the sum wrap; a value has less than 1 GB.
        let length = u32::try_from(length).expect("a row in hex is shorter than 4 GiB");
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut state = State { a: start, b: start, c: start };
        if seed != 0 {
            let [s0, s1, s2, s3, s4, s5, s6, s7] = seed.to_be_bytes();
            state.a = state.a.wrapping_add(u32::from_be_bytes([s0, s1, s2, s3]));
            state.b = state.b.wrapping_add(u32::from_be_bytes([s4, s5, s6, s7]));
            mix(&mut state.a, &mut state.b, &mut state.c);
        }
        state
    }

    #[inline]
    fn block(&mut self, block: &[u8]) {
        self.a = self.a.wrapping_add(word(&block[0..4]));
        self.b = self.b.wrapping_add(word(&block[4..8]));
        self.c = self.c.wrapping_add(word(&block[8..12]));
        mix(&mut self.a, &mut self.b, &mut self.c);
    }

    /// Takes the last eleven bytes or fewer. The lowest byte of `c` is left out: lookup3 keeps it for the length.
    fn finish(mut self, rest: &[u8]) -> u64 {
        let mut tail = [0u8; 13];
        for (index, byte) in rest.iter().enumerate() {
            tail[if index < 8 { index } else { index + 1 }] = *byte;
        }
        self.a = self.a.wrapping_add(word(&tail[0..4]));
        self.b = self.b.wrapping_add(word(&tail[4..8]));
        self.c = self.c.wrapping_add(word(&tail[8..12]));
        finish(&mut self.a, &mut self.b, &mut self.c);
        (u64::from(self.b) << 32) | u64::from(self.c)
    }
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

    /// Printed by PostgreSQL 15: `hashtextextended(left('abc…', n), seed)` for seeds 0 and 1.
    const VECTORS: [(usize, i64, i64); 10] = [
        (0, -6939563903564495251, -150071773020461347),
        (1, 3591986179850072241, 3325245193489759299),
        (4, -1038429303365892052, -9042268383291675265),
        (8, -8882191227074733005, -996835456672934620),
        (9, -3278210106038014113, 5773402991589158274),
        (11, 3112909444737856467, 8196382510784792041),
        (12, -7556637188122330412, -6429754808531195817),
        (13, 8871624171452417744, 3808842878744369845),
        (24, -1933194731779935345, -731882798451170301),
        (36, -9049552497159076100, -2082128406719352852),
    ];

    #[test]
    fn gives_the_numbers_postgresql_gives() {
        let text = b"abcdefghijklmnopqrstuvwxyz0123456789";
        for (length, zero, one) in VECTORS {
            assert_eq!(hash_text(&text[..length]).map(u64::cast_signed), [zero, one], "{length}");
        }
    }

    #[test]
    fn bytes_in_pieces_give_the_hash_of_their_hex_text() {
        let bytes: Vec<u8> = (0..=255).cycle().take(700).collect();
        for length in [0, 1, 5, 6, 7, 11, 12, 13, 699] {
            let hex: Vec<u8> = bytes[..length].iter().flat_map(|byte| HEX[usize::from(*byte)]).collect();
            for piece in [1, 4, 6, 7, 1000] {
                let mut hasher = HexHasher::new(length);
                bytes[..length].chunks(piece).for_each(|piece| hasher.update(piece));
                assert_eq!(hasher.finish(), hash_text(&hex), "{length} {piece}");
            }
        }
    }
}
