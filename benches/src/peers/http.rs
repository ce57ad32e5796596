//! The HTTP service, the same for every runtime: hyper's HTTP/1.1 server with its default settings, as hyper's guide has it.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};

use crate::job::spin;

pub(super) async fn serve(stream: impl Read + Write + Unpin, steps: u64) {
    let service = service_fn(move |_: Request<Incoming>| async move {
        if steps > 0 {
            std::hint::black_box(spin(1, steps));
        }
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
            b"Hello, World!",
        ))))
    });
    // A client that goes away is no failure of the server.
    let _ = http1::Builder::new()
        .serve_connection(stream, service)
        .await;
}
