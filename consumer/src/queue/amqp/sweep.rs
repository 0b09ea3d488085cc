//! Ends leases that nobody extends, and gives back what nobody waits for.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::inbox::Held;
use super::link::Link;

/// A consumer that could get more is kept this long after the last `receive`: the next one usually follows at once.
const LINGER: Duration = Duration::from_secs(1);

/// Looks every twentieth of a lease, once a second at most, until the link is gone.
pub(super) async fn run(link: Weak<Link>, dead: CancellationToken) {
    let Some(lease) = link.upgrade().map(|link| link.options.lease) else { return };
    let pause = (lease / 20).clamp(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        tokio::select! {
            () = dead.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let Some(link) = link.upgrade() else { return };
        if !link.is_alive() {
            return;
        }
        let expired = link.inbox().take_expired();
        for held in expired {
            tracing::debug!(message_id = %held.message.id, "not extended: handed back");
            if link.hand_back(&held, true).await.is_err() {
                return;
            }
        }
        if is_idle(&link, LINGER) {
            stop_consuming(&link, LINGER).await;
        }
    }
}

/// Ends the consumer now, unless somebody waits or it cannot get anything anyway.
pub(super) async fn rest(link: &Link) {
    stop_consuming(link, Duration::ZERO).await;
}

/// A worker whose hands are full keeps its consumer, which gets nothing and tells it when the queue is deleted.
fn is_idle(link: &Link, linger: Duration) -> bool {
    let inbox = link.inbox();
    let lingered = inbox.idle_since.is_none_or(|since| since.elapsed() >= linger);
    inbox.waiting == 0 && lingered && inbox.supply() > 0
}

async fn stop_consuming(link: &Link, linger: Duration) {
    let _one = link.consuming.lock().await;
    if !is_idle(link, linger) || link.unsubscribe().await.is_err() {
        return;
    }
    let arrived: Vec<Held> = {
        let mut inbox = link.inbox();
        if inbox.waiting > 0 { Vec::new() } else { inbox.arrived.drain(..).collect() }
    };
    for held in arrived {
        tracing::debug!(message_id = %held.message.id, "nobody waits for it: handed back");
        if link.return_unseen(&held).await.is_err() {
            return;
        }
    }
}
