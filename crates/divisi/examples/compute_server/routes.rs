//! What a request asks for, and the answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use divisi::Handle;
use divisi::time::timeout;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use crate::failure::Failure;
use crate::files::{self, Root};
use crate::metrics::{self, Counters};
use crate::{args, digest};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Prometheus' text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// What all connections share.
pub(crate) struct App {
    root: Root,
    /// Until the answer begins; to send it takes as long as the client takes to read it.
    limit: Duration,
    counters: Counters,
}

impl App {
    pub(crate) fn new(directory: &Path, limit: Duration) -> io::Result<App> {
        Ok(App {
            root: Root::new(directory)?,
            limit,
            counters: Counters::default(),
        })
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn respond<B>(&self, request: Request<B>) -> Response<Body> {
        let _in_flight = self.counters.request();
        let answered = timeout(
            self.limit,
            self.route(request.method(), request.uri().path()),
        )
        .await;
        let answer = match answered {
            Ok(answer) => answer,
            // The future of the route was dropped, and with it the work it had ordered.
            Err(_elapsed) => Err(Failure::TooSlow(self.limit)),
        };
        let response = answer.unwrap_or_else(|failure| refusal(&failure));
        self.counters.answered(response.status());
        response
    }

    async fn route(&self, method: &Method, path: &str) -> Result<Response<Body>, Failure> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Failure::Method);
        }
        if let Some(path) = path.strip_prefix("/files/") {
            return self.file(method, path).await;
        }
        if let Some(path) = path.strip_prefix("/sha256/") {
            return self.digest(method, path).await;
        }
        match path {
            "/" => Ok(text(args::USAGE)),
            "/health" => Ok(text("ok\n")),
            "/metrics" => {
                let page = metrics::page(&Handle::current().metrics(), &self.counters);
                Ok(answer(StatusCode::OK, METRICS, page))
            }
            _ => Err(Failure::NoSuchPath),
        }
    }

    async fn file(&self, method: &Method, path: &str) -> Result<Response<Body>, Failure> {
        let found = self.root.find(path).await?;
        let length = found.metadata.len();
        let file = files::open(found).await?;
        let body = if method == Method::HEAD {
            // The same head as for GET, without a read that nobody wants.
            empty()
        } else {
            StreamBody::new(files::chunks(file, length)).boxed_unsync()
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, BINARY);
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }

    async fn digest(&self, method: &Method, path: &str) -> Result<Response<Body>, Failure> {
        let found = self.root.find(path).await?;
        let mut response = if method == Method::HEAD {
            // The length is known only after the work; HEAD may leave it out.
            Response::new(empty())
        } else {
            Response::new(full(digest::of_found(found).await?))
        };
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
        Ok(response)
    }
}

fn refusal(failure: &Failure) -> Response<Body> {
    let mut response = answer(failure.status(), TEXT, format!("{failure}\n"));
    let headers = response.headers_mut();
    match failure {
        Failure::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Failure::Busy => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

fn text(page: &'static str) -> Response<Body> {
    answer(StatusCode::OK, TEXT, page)
}

fn answer(status: StatusCode, content_type: HeaderValue, page: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn full(page: impl Into<Bytes>) -> Body {
    Full::new(page.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
