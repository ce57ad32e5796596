//! axum: JSON, query, state, a WebSocket, server-sent events.
//!
//! axum itself needs no runtime. Two of its conveniences insist on tokio's: `axum::serve`, for which [`serving`] stands here, and
//! `WebSocketUpgrade`, for which [`websocket::accept_upgrade`] does. Keep-alive comments of an event stream come from divisi's interval.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use divisi::time::{interval, sleep};
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};

use crate::serving::{self, Serving};
use crate::websocket;

/// What all requests share.
#[derive(Debug, Default)]
pub struct Shared {
    visits: AtomicU64,
}

/// The pages.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/greet", get(greet))
        .route("/sum", post(sum))
        .route("/visits", get(visits))
        .route("/slow", get(slow))
        .route("/ticks", get(ticks))
        .route("/ws", get(websocket_echo))
        .with_state(shared)
}

/// Serves [`router`].
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr) -> io::Result<Serving> {
    let router = router(Arc::default());
    serving::serve(address, TowerToHyperService::new(router)).await
}

#[derive(Deserialize)]
struct Greet {
    name: String,
}

async fn greet(Query(query): Query<Greet>) -> String {
    format!("Hello, {}!", query.name)
}

#[derive(Deserialize)]
struct Sum {
    numbers: Vec<f64>,
}

#[derive(Serialize)]
struct Summed {
    sum: f64,
    count: usize,
}

async fn sum(Json(request): Json<Sum>) -> Result<Json<Summed>, StatusCode> {
    let count = request.numbers.len();
    if count == 0 {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    // As if it were much: computing goes to the compute pool.
    let sum = divisi::offload(move || request.numbers.iter().sum())
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(Summed { sum, count }))
}

async fn visits(State(shared): State<Arc<Shared>>) -> String {
    (shared.visits.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}

async fn slow() -> &'static str {
    sleep(Duration::from_millis(200)).await;
    "at last"
}

#[derive(Deserialize)]
struct Ticks {
    count: u32,
}

/// As many events, 10 ms apart.
async fn ticks(Query(query): Query<Ticks>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = interval(Duration::from_millis(10));
    Sse::new(unfold((0, ticks), move |(sent, mut ticks)| async move {
        if sent == query.count {
            return None;
        }
        ticks.tick().await;
        let event = Event::default().event("tick").data(sent.to_string());
        Some((Ok(event), (sent + 1, ticks)))
    }))
}

async fn websocket_echo(request: Request) -> Response {
    match websocket::accept_upgrade(request, websocket::echo) {
        Ok(response) => response.map(axum::body::Body::new),
        Err(refused) => (StatusCode::BAD_REQUEST, refused.to_string()).into_response(),
    }
}
