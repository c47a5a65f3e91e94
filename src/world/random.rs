//! Where identifiers, salts and secrets come from.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::PoisonError;

/// A source of random bytes.
pub trait Random: Send + Sync + Debug {
    /// Fills `bytes`. Never fails short: without randomness nothing may be sealed.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Random + '_ {
    /// An array of random bytes.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// Panics where the machine has no randomness: it must not seal anything then.
    fn fill(&self, bytes: &mut [u8]) {
        let filled = aws_lc_rs::rand::fill(bytes);
        assert!(filled.is_ok(), "the operating system gives no random bytes");
    }
}

/// Reproducible bytes from a seed, for tests and simulations only: a BLAKE3 output stream.
#[derive(Debug)]
pub struct SeededRandom {
    stream: Mutex<blake3::OutputReader>,
}

impl SeededRandom {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        Self { stream: Mutex::new(hasher.finalize_xof()) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
