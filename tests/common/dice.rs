//! Chance from a seed that is printed.

/// A small generator, so that a printed seed tells the run.
pub struct Dice(pub u64);

impl Dice {
    /// From `GONIEC_SEED`, or the clock; printed.
    pub fn new(name: &str) -> Dice {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let seed = std::env::var("GONIEC_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(u64::from(clock) + 1);
        println!("seed of {name}: {seed}");
        Dice(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
