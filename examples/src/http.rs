//! hyper by itself: a server for HTTP/1 and HTTP/2, and a client for both.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use divisi::hyper::{DivisiExecutor, DivisiTimer};
use divisi::net::TcpStream;
use divisi::time::sleep;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};

use crate::Error;
use crate::serving::{self, Serving};

/// Serves `GET /` (a greeting), `POST /echo` (the body), `GET /slow` (after 200 ms) and `GET /primes/N` (computed).
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr) -> io::Result<Serving> {
    serving::serve(address, service_fn(answer)).await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let answer = match (request.method(), path.as_str()) {
        (&Method::GET, "/") => text("Hello from divisi!\n"),
        (&Method::POST, "/echo") => match request.into_body().collect().await {
            Ok(body) => Response::new(Full::new(body.to_bytes())),
            Err(_) => status(StatusCode::BAD_REQUEST, "the body ended too early\n"),
        },
        (&Method::GET, "/slow") => {
            sleep(Duration::from_millis(200)).await;
            text("at last\n")
        }
        (&Method::GET, path) => match path.strip_prefix("/primes/").map(str::parse::<u32>) {
            Some(Ok(below)) if below <= 1_000_000 => {
                // Computing, so it goes where computing belongs: other requests are answered meanwhile.
                match divisi::offload(move || count_primes(below)).await {
                    Ok(count) => text(format!("{count}\n")),
                    Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR, "no result\n"),
                }
            }
            Some(_) => status(
                StatusCode::BAD_REQUEST,
                "ask for a number up to 1000000: /primes/1000\n",
            ),
            None => status(StatusCode::NOT_FOUND, "no such page\n"),
        },
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "not here\n"),
    };
    Ok(answer)
}

fn text(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

fn status(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(why);
    *response.status_mut() = status;
    response
}

fn count_primes(below: u32) -> usize {
    let is_prime = |n: u32| {
        (2..)
            .take_while(|d| d * d <= n)
            .all(|divisor| !n.is_multiple_of(divisor))
    };
    (2..below).filter(|&n| is_prime(n)).count()
}

/// A connection to a server.
#[derive(Debug)]
pub enum Client {
    /// One request at a time.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Any number at a time: clones share the connection.
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects for HTTP/1.1.
    ///
    /// # Errors
    ///
    /// If there is no connection.
    pub async fn http1(address: SocketAddr) -> Result<Client, Error> {
        let stream = TcpStream::connect(address).await?;
        let (client, connection) = http1::handshake(stream).await?;
        // The connection is a future of its own. Its errors reach the requests too.
        drop(divisi::spawn(connection));
        Ok(Client::Http1(client))
    }

    /// Connects for HTTP/2 without asking the server first ("prior knowledge"). A ping every 20 s finds out when the server is gone.
    ///
    /// # Errors
    ///
    /// If there is no connection.
    pub async fn http2(address: SocketAddr) -> Result<Client, Error> {
        let stream = TcpStream::connect(address).await?;
        let (client, connection) = http2::Builder::new(DivisiExecutor::new())
            .timer(DivisiTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .handshake(stream)
            .await?;
        drop(divisi::spawn(connection));
        Ok(Client::Http2(client))
    }

    /// Sends a request and collects the body of the answer.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub async fn send(
        &mut self,
        method: Method,
        authority: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes), Error> {
        let request = Request::builder().method(method);
        let body = Full::new(body.into());
        let answer = match self {
            Client::Http1(client) => {
                client.ready().await?;
                // HTTP/1 has the host in a header, HTTP/2 in the URI.
                let request = request
                    .uri(path)
                    .header(header::HOST, authority)
                    .body(body)?;
                client.send_request(request).await?
            }
            Client::Http2(client) => {
                client.ready().await?;
                let uri = format!("http://{authority}{path}");
                client.send_request(request.uri(uri).body(body)?).await?
            }
        };
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }

    /// [`send`](Client::send)s a `GET`.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub async fn get(&mut self, authority: &str, path: &str) -> Result<(StatusCode, Bytes), Error> {
        self.send(Method::GET, authority, path, Bytes::new()).await
    }
}
