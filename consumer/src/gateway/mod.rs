//! HTTP: what orchestrators and Prometheus ask.
//!
//! | path | answers |
//! |---|---|
//! | `/livez` | 200 while the process serves at all |
//! | `/readyz` | 200 while the worker can take jobs; else 503 with every reason |
//! | `/metrics` | all metrics in the OpenMetrics text format |
//!
//! There is no authentication: the configuration keeps the listener on loopback unless told otherwise.

mod ready;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use ready::{Readiness, Unready};

use crate::http::{self, Bounds};
use crate::telemetry::Metrics;

/// Longest a readiness check may take; orchestrators give up earlier than brokers do.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Few, so that whoever reaches the gateway cannot use up the worker's descriptors.
const BOUNDS: Bounds = Bounds { connections: 64, headers: Duration::from_secs(30), drain: Duration::from_secs(2) };
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the routes answer from.
#[derive(Clone)]
pub struct GatewayState {
    /// The worker's metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the worker can take jobs.
    pub readiness: Arc<dyn Readiness>,
}

/// Serves until `shutdown` resolves.
pub async fn serve(listener: TcpListener, state: GatewayState, shutdown: impl Future<Output = ()>) {
    if !http::serve(listener, TowerToHyperService::new(router(state)), BOUNDS, shutdown).await {
        tracing::debug!("requests to the gateway were still in progress at its end");
    }
}

fn router(state: GatewayState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

#[derive(Serialize)]
struct ReadyBody {
    ready: bool,
    reasons: Vec<Unready>,
}

const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

async fn readyz(State(state): State<GatewayState>) -> Response {
    let reasons = timeout(READY_WITHIN, state.readiness.reasons())
        .await
        .unwrap_or_else(|_| vec![Unready::new("check", format!("did not answer within {} s", READY_WITHIN.as_secs()))]);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [NO_STORE], Json(ReadyBody { ready: reasons.is_empty(), reasons })).into_response()
}

async fn metrics(State(state): State<GatewayState>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS), NO_STORE], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
