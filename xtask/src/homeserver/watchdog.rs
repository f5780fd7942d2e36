//! Ends an instance that nobody ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::control::Notice;
use super::error::Error;
use super::record::Lifetime;
use super::supervisor::{Files, Supervisor};

/// How often the instance's files are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Returns when the instance has ended: taken down, past its lifetime, or its files removed by others.
pub(super) async fn watch(
    supervisor: Arc<Supervisor>,
    lifetime: Lifetime,
    mut notices: UnboundedReceiver<Notice>,
) -> Result<(), Error> {
    let mut deadline = Instant::now() + lifetime.0;
    loop {
        let next = (Instant::now() + LOOK_AFTER).min(deadline);
        match timeout(next - Instant::now(), notices.recv()).await {
            Ok(Some(Notice::Renewed)) => deadline = Instant::now() + lifetime.0,
            Ok(Some(Notice::Down)) => return Ok(()),
            Ok(None) => sleep_until(next).await,
            Err(_) => {}
        }
        if Instant::now() >= deadline || !supervisor.layout.record().exists() {
            return supervisor.shut_down(Files::Keep).await;
        }
    }
}
