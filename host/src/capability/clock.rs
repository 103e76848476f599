//! `clock`: the time as the host gives it, and waits that spend no thread.
//!
//! Every answer is kept until the next page takes it to the archive, so that a replay can give it again.

use std::time::Duration;

use wasmtime::component::{HasData, Linker};

use super::heard::{GuestTime, Repeated};
use crate::engine::bindings::ingest::connector::clock;
use crate::engine::guest::Guest;
use crate::time::Time;

/// State of the `clock` interface.
pub struct ClockCtx(GuestTime);

impl ClockCtx {
    /// Makes a clock that shows `time`.
    pub fn new(time: GuestTime) -> Self {
        Self(time)
    }

    /// Takes the answers given since the last call, WASI's clocks included, oldest first.
    pub fn take_answers(&mut self) -> Repeated<u64> {
        self.0.take()
    }
}

/// A borrowed view of [`ClockCtx`].
pub struct ClockView<'a>(pub(crate) &'a mut ClockCtx);

impl clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.0.0.now_ms())
    }

    async fn sleep(&mut self, milliseconds: u64) -> wasmtime::Result<()> {
        self.0.0.sleep(Duration::from_millis(milliseconds)).await;
        Ok(())
    }
}

struct Clock;

impl HasData for Clock {
    type Data<'a> = ClockView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    clock::add_to_linker::<_, Clock>(linker, |guest| ClockView(&mut guest.called().clock))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::clock::Host;
    use super::*;
    use crate::time::VirtualClock;

    #[tokio::test]
    async fn the_answers_are_those_of_the_clock_and_are_kept() {
        let mut ctx = ClockCtx::new(GuestTime::new(Arc::new(VirtualClock::starting_at(5))));
        let mut view = ClockView(&mut ctx);
        assert_eq!(view.now().unwrap(), 5);
        view.sleep(1_000).await.unwrap();
        assert_eq!(view.now().unwrap(), 1_005);
        assert_eq!(ctx.take_answers(), [(5, 1), (1_005, 1)]);
        assert!(ctx.take_answers().is_empty());
    }
}
