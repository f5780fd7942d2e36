//! The named defences, each with a switch in the test build.
//!
//! Code that keeps an attack of the threat list out asks [`on`] with the attack's id. In every ordinary build the
//! answer is a constant `true` and the question leaves no trace. Built with `--cfg dmls_mutants`, one defence at a time
//! can be switched off for the running thread, so that a test can show that it notices (`cargo xtask attacks`).
//! Questions that are generated (`assurance/mutants`) stand in no file of the product; in the copy that has them, a
//! defence can be off in all threads, too (`cargo xtask mutants`).

/// Whether the defence against the attack `id` ("F2", "C12") stands.
#[cfg(not(dmls_mutants))]
#[inline(always)]
pub const fn on(_id: &str) -> bool {
    true
}

#[cfg(dmls_mutants)]
pub use switched::{Off, on, switch_off};

#[cfg(dmls_mutants)]
mod switched {
    use std::cell::Cell;

    thread_local! {
        static OFF: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Whether the defence against the attack `id` ("F2", "C12") stands in this thread.
    pub fn on(id: &str) -> bool {
        OFF.get() != Some(id)
    }

    /// The defence is off as long as this lives.
    #[must_use = "the defence is on again when this is dropped"]
    pub struct Off(Option<&'static str>);

    /// Switches one defence off for this thread; one that was off before is off again afterwards.
    pub fn switch_off(id: &'static str) -> Off {
        Off(OFF.replace(Some(id)))
    }

    impl Drop for Off {
        fn drop(&mut self) {
            OFF.set(self.0);
        }
    }
}
