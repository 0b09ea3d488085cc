//! Takes deliveries from one queue or several and sends each on its journey, until told to stop.
//!
//! # Design note: several queues
//!
//! A worker has as many **hands** as device slots and `fetch_ahead`; each delivery holds one from its receipt to its
//! settlement. While a hand is free the queues are asked without waiting, those of the highest priority first, within one
//! priority in proportion to their weights ([`schedule`]). A queue that has nothing costs one question for each hand that
//! becomes free. Only when all are empty they are waited on, all at once, so that a long poll at one never delays
//! another, and an idle worker asks nothing else.
//!
//! Waits cannot be taken back: a message that SQS has handed to a request that nobody reads any more is lost for a
//! lease. So they go on while the hands are filled from elsewhere, for one message each, and what they bring then is handed
//! back at once, uncounted. That is one message of each queue for each time that a worker turns from idle to busy: it goes
//! to another worker, or to the end of the queue where the broker knows no other way (RabbitMQ, SQS). Only when the
//! worker ends they are given up at once: they would take what it hands back.
//!
//! A question that is not answered within [`intake::PATIENCE`] counts as "nothing there" until its answer comes: a broker
//! that is down holds up no other. A single queue is never asked without waiting: it is waited on for all free hands.

mod drain;
mod intake;
pub mod interruption;
mod schedule;

use std::sync::Arc;

pub use drain::Drain;
pub use intake::Source;
pub use schedule::Terms;

use crate::job::runner::Journey;

/// Takes deliveries until `drain.begun`; returns when the last one is settled. At most slots + `fetch_ahead` deliveries
/// are in hand.
pub async fn serve(sources: Vec<Source>, journey: Arc<Journey>, fetch_ahead: usize, drain: Drain) {
    let hands = journey.pool.slots() + fetch_ahead;
    let heard = drain.clone();
    let travel = move |lease| {
        let (journey, drain) = (Arc::clone(&journey), heard.clone());
        async move { journey.travel(lease, drain).await }
    };
    intake::run(sources, hands, &drain, travel).await;
}
