//! An open-loop client: requests are due at fixed times, whether or not earlier ones are answered.
//!
//! A client that sends the next request when the last one is answered sends fewer of them while the
//! server is slow, and so hides how slow it is. Here a request that could not be sent in time,
//! because its connection still waited for an answer, has been late since it was due.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use divisi::net::TcpStream;
use divisi::time::{Instant, sleep_until, timeout_at};
use divisi::{LocalRuntime, spawn_local};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;

use crate::Fatal;

/// Microseconds; a request that waits longer counts as this.
const HIGHEST: u64 = 60_000_000;

pub(super) struct Plan {
    pub(super) address: SocketAddr,
    pub(super) connections: u32,
    /// Over all connections.
    pub(super) requests_per_second: u32,
    pub(super) duration: Duration,
    /// How long the last answers are waited for.
    pub(super) patience: Duration,
}

/// What came of the requests.
pub(super) struct Latencies {
    /// Microseconds from when a request was due to the end of its answer. Of a request without an
    /// answer: to when it was given up, so percentiles among those are too low, never too high.
    pub(super) micros: Histogram<u64>,
    pub(super) due: u64,
    pub(super) answered: u64,
}

/// Runs the plan on this thread.
pub(super) fn run(plan: &Plan) -> Result<Latencies, Fatal> {
    let runtime = LocalRuntime::new()?;
    runtime.block_on(async {
        // All connections stand before the first request is due.
        let mut senders = Vec::new();
        for _ in 0..plan.connections {
            senders.push(connect(plan.address).await?);
        }

        let latencies = Rc::new(RefCell::new(Latencies {
            // Three digits, whatever the magnitude; more than the longest wait lasts.
            micros: Histogram::new_with_max(HIGHEST, 3)?,
            due: 0,
            answered: 0,
        }));
        let begin = Instant::now();
        let gap = Duration::from_secs(1) * plan.connections / plan.requests_per_second;
        let tasks: Vec<_> = senders
            .into_iter()
            .zip(0..)
            .map(|(sender, n)| {
                let schedule = Schedule {
                    // Connections take turns.
                    next: begin + gap * n / plan.connections,
                    gap,
                    end: begin + plan.duration,
                    give_up: begin + plan.duration + plan.patience,
                };
                spawn_local(one_connection(
                    sender,
                    plan.address,
                    schedule,
                    latencies.clone(),
                ))
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let latencies = Rc::into_inner(latencies).expect("the tasks have ended");
        Ok(latencies.into_inner())
    })
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, Fatal> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(stream).await?;
    // Its error reaches the request that it concerns as well.
    drop(spawn_local(connection));
    Ok(sender)
}

struct Schedule {
    next: Instant,
    gap: Duration,
    end: Instant,
    give_up: Instant,
}

async fn one_connection(
    mut sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    schedule: Schedule,
    latencies: Rc<RefCell<Latencies>>,
) -> Result<(), Fatal> {
    let mut due = schedule.next;
    while due < schedule.end {
        sleep_until(due).await;
        let answer = timeout_at(schedule.give_up, health(&mut sender, address)).await;
        let is_answered = match answer {
            Ok(answer) => answer.map(|()| true)?,
            Err(_elapsed) => false,
        };
        {
            let mut latencies = latencies.borrow_mut();
            let micros = due.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
            latencies.micros.saturating_record(micros);
            latencies.due += 1;
            latencies.answered += u64::from(is_answered);
        }
        due += schedule.gap;
    }
    Ok(())
}

async fn health(sender: &mut SendRequest<Empty<Bytes>>, address: SocketAddr) -> Result<(), Fatal> {
    sender.ready().await?;
    let request = Request::get("/health")
        .header(HOST, address.to_string())
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() || body != "ok\n" {
        return Err(format!("/health answered {status}: {body:?}").into());
    }
    Ok(())
}
