//! `tracing` inside the executor goes up as log frames.

use std::fmt::Write;
use std::sync::Arc;

use darkroom_api::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::uplink::Uplink;

struct ToUplink(Arc<Uplink>);

/// Sends all events of level info and above to the consumer, which has its own filter; of ONNX Runtime's own chatter
/// only warnings.
pub fn install(uplink: Arc<Uplink>) {
    let layer = ToUplink(uplink)
        .with_filter(Targets::new().with_default(LevelFilter::INFO).with_target("ort", LevelFilter::WARN));
    // Set twice only by tests, where the first one serves.
    tracing_subscriber::registry().with(layer).try_init().ok();
}

impl<S: Subscriber> Layer<S> for ToUplink {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        let mut line = Line { message: String::new(), fields: String::new() };
        event.record(&mut line);
        self.0.line(level, &format!("{}: {}{}", event.metadata().target(), line.message, line.fields));
    }
}

struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        match field.name() {
            "message" => write!(self.message, "{value:?}").ok(),
            name => write!(self.fields, " {name}={value:?}").ok(),
        };
    }
}
