//! What every fuzz target shares: the targets themselves, and an allocator that holds each run to
//! the memory that its target grants. Only here may code be unsafe: an allocator is.

pub mod meter;
pub mod targets;

#[global_allocator]
static METER: meter::Meter = meter::Meter;

/// Runs a target once and panics if it took more memory than it may.
///
/// # Panics
///
/// If a promise of the target is broken.
pub fn run(target: &targets::Target, bytes: &[u8]) {
    let (peak_bytes, ()) = meter::peak_of(|| (target.run)(bytes));
    let most_bytes = target.grant_bytes(bytes.len());
    assert!(
        peak_bytes <= most_bytes,
        "{} took {peak_bytes} bytes for {} bytes of input, and may take {most_bytes}",
        target.name,
        bytes.len()
    );
}

/// The body of a file in `fuzz_targets/`.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        static TARGET: std::sync::LazyLock<&'static $crate::targets::Target> =
            std::sync::LazyLock::new(|| {
                let target = $crate::targets::named($name);
                // Whatever is made once is made before anything is measured.
                (target.seeds)().iter().for_each(|seed| (target.run)(seed));
                target
            });

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::run(&TARGET, bytes));
    };
}
