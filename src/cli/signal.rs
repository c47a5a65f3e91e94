//! SIGINT and SIGTERM: the first one drops the running work, which leaves a valid repository behind;
//! the second one does not wait for that.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Exit, Failure};

/// Both signals. Made before any work begins, so that none is missed.
#[derive(Debug)]
pub(super) struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruptions {
    /// Begins to listen.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Bug, format!("cannot listen for signals: {error}"))
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the first signal; from then on a second one ends the process at once.
    pub(super) async fn first(mut self) -> Failure {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            abort();
        });
        Failure::interrupted()
    }
}

#[expect(clippy::exit, reason = "who asks twice does not want to wait for anything to be dropped")]
fn abort() -> ! {
    std::process::exit(i32::from(Exit::Interrupted.code()))
}
