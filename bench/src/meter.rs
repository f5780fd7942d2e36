//! Time and memory: of this thread, and of the heap.

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::contestant::Failure;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Keeps in this thread what a library would spread over several (rayon), or its time would not be seen.
///
/// Only for a process whose whole work is in the thread that calls this.
///
/// # Errors
/// If something was spread already.
pub fn only_this_thread() -> Result<(), Failure> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?)
}

/// Milliseconds of processor time that this thread has used.
pub fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// Bytes that are allocated now.
pub fn heap() -> f64 {
    HEAP.current_usage() as f64
}

/// What `run` gives, and how many more bytes were allocated at once meanwhile.
pub fn at_most<T>(run: impl FnOnce() -> T) -> (T, f64) {
    HEAP.reset_peak_usage();
    let before = heap();
    let given = run();
    (given, HEAP.peak_usage() as f64 - before)
}

/// What `run` gives, and the milliseconds that it took this thread.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let begun = cpu();
    let given = run();
    (given, cpu() - begun)
}

/// The middle one of some samples; 0 of none.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}
