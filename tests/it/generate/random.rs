//! Randomness that is the same on every machine: one number tells a whole database.

/// Xorshift; its quality is enough for choosing among odd things.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds must not begin alike, and xorshift cannot leave zero.
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut random = Random((mixed ^ (mixed >> 29)) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a pointer has at most 64 bits");
        usize::try_from((self.next() >> 11) % bound).expect("it is below a usize")
    }

    /// A number from 0 to 999,999,999.
    pub fn number(&mut self) -> i64 {
        i64::try_from(self.below(1_000_000_000)).expect("it is small")
    }

    pub fn in_hundred(&mut self, chances: usize) -> bool {
        self.below(100) < chances
    }

    pub fn pick<'t, T>(&mut self, among: &'t [T]) -> &'t T {
        &among[self.below(among.len())]
    }
}
