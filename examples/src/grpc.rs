//! tonic: unary and streaming calls, both ends.
//!
//! tonic's feature `transport` brings tokio's runtime. Without it the server is a `tower` service for [`serving`], and the
//! client takes any service that sends HTTP/2 requests: [`Channel`].
//!
//! What `transport` would do besides: balancing, reconnecting, TLS, and ending calls whose `grpc-timeout` has passed. The last is done here by [`Deadlines`].

/// Public as its generator has it; use the re-exports.
pub mod generated;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use divisi::channel::mpsc;
use divisi::hyper::DivisiExecutor;
use divisi::net::TcpStream;
use futures_util::stream::{BoxStream, StreamExt, iter};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::service::TowerToHyperService;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

pub use generated::telemetry_client::TelemetryClient;
pub use generated::telemetry_server::{Telemetry, TelemetryServer};

use crate::Error;
use crate::serving::{self, Serving};

/// Numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Samples {
    /// The numbers.
    #[prost(double, repeated, tag = "1")]
    pub values: Vec<f64>,
}

/// One number.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sample {
    /// The number.
    #[prost(double, tag = "1")]
    pub value: f64,
}

/// What is known about numbers.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Statistics {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Their mean.
    #[prost(double, tag = "2")]
    pub mean: f64,
}

/// Numbers that follow each other.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Range {
    /// The first.
    #[prost(uint32, tag = "1")]
    pub first: u32,
    /// How many.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// Statistics of numbers that are `count` with `mean` and `value` besides.
fn with(known: Statistics, value: f64) -> Statistics {
    let count = known.count + 1;
    Statistics {
        count,
        mean: known.mean + (value - known.mean) / count as f64,
    }
}

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calculator;

#[tonic::async_trait]
impl Telemetry for Calculator {
    async fn mean(&self, request: Request<Samples>) -> Result<Response<Statistics>, Status> {
        let values = request.into_inner().values;
        if values.is_empty() {
            return Err(Status::invalid_argument(
                "no numbers have no mean: send one",
            ));
        }
        let statistics =
            divisi::offload(move || values.into_iter().fold(Statistics::default(), with));
        match statistics.await {
            Ok(statistics) => Ok(Response::new(statistics)),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }

    type CountStream = BoxStream<'static, Result<Sample, Status>>;

    async fn count(&self, request: Request<Range>) -> Result<Response<Self::CountStream>, Status> {
        let Range { first, count } = request.into_inner();
        let Some(end) = first.checked_add(count) else {
            return Err(Status::out_of_range("the range goes beyond 2^32"));
        };
        let values = iter(first..end).map(|value| {
            Ok(Sample {
                value: value.into(),
            })
        });
        Ok(Response::new(values.boxed()))
    }

    type RunningMeanStream = BoxStream<'static, Result<Statistics, Status>>;

    async fn running_mean(
        &self,
        request: Request<Streaming<Sample>>,
    ) -> Result<Response<Self::RunningMeanStream>, Status> {
        let mut samples = request.into_inner();
        // Room for one: a client that does not read makes this task wait, and so stops being read from.
        let (sender, receiver) = mpsc::bounded(1);
        drop(divisi::spawn(async move {
            let mut known = Statistics::default();
            while let Some(sample) = samples.next().await {
                let answer = sample.map(|sample| {
                    known = with(known, sample.value);
                    known
                });
                if sender.send(answer).await.is_err() {
                    // The client went away.
                    return;
                }
            }
        }));
        Ok(Response::new(receiver.boxed()))
    }
}

/// Serves [`Calculator`]. HTTP/2 without TLS, as `grpc-go` and others call "insecure".
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr) -> io::Result<Serving> {
    let routes = Routes::new(TelemetryServer::new(Calculator)).prepare();
    let service = Deadlines(routes.into_axum_router());
    serving::serve(address, TowerToHyperService::new(service)).await
}

/// Ends calls whose `grpc-timeout` has passed, on divisi's clock.
#[derive(Clone, Debug)]
pub struct Deadlines<S>(pub S);

impl<S, B> Service<hyper::Request<B>> for Deadlines<S>
where
    S: Service<hyper::Request<B>, Response = hyper::Response<axum::body::Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: hyper::Request<B>) -> Self::Future {
        let header = request.headers().get("grpc-timeout");
        let limit = header.and_then(|value| grpc_timeout(value.to_str().ok()?));
        let call = self.0.call(request);
        Box::pin(async move {
            let Some(limit) = limit else {
                return call.await;
            };
            match divisi::time::timeout(limit, call).await {
                Ok(answer) => answer,
                Err(_) => Ok(Status::deadline_exceeded("the call took too long").into_http()),
            }
        })
    }
}

/// At most eight digits and a unit, as the gRPC specification has it.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| digits.parse::<u64>().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What tonic's clients call through: one HTTP/2 connection that all clones share.
#[derive(Clone, Debug)]
pub struct Channel(http2::SendRequest<Body>);

impl Channel {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If there is no connection.
    pub async fn connect(address: SocketAddr) -> Result<Channel, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(DivisiExecutor::new(), stream).await?;
        drop(divisi::spawn(connection));
        Ok(Channel(sender))
    }
}

impl Service<hyper::Request<Body>> for Channel {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A client of the service at `address`.
///
/// # Errors
///
/// If there is no connection.
pub async fn client(address: SocketAddr) -> Result<TelemetryClient<Channel>, Error> {
    let channel = Channel::connect(address).await?;
    let origin = format!("http://{address}").parse()?;
    Ok(TelemetryClient::with_origin(channel, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_as_the_specification_has_them() {
        assert_eq!(grpc_timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(grpc_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(
            grpc_timeout("99999999S"),
            Some(Duration::from_secs(99_999_999))
        );
        for wrong in ["", "S", "5", "-1S", "+1S", "123456789S", "1x", "1µ"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong}");
        }
    }
}
