//! hyper on divisi: HTTP/1 and HTTP/2, both ends, without another runtime.
#![cfg(feature = "hyper")]

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::hyper::{DivisiExecutor, DivisiTimer, HyperIo};
use divisi::io::{Async, BufReader};
use divisi::net::{TcpListener, TcpStream, UnixStream};
use divisi::time::Instant;
use hyper::body::{Body, Incoming};
use hyper::rt::{Executor, Timer};
use hyper::service::service_fn;
use hyper::{Request, Response};

async fn text(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.unwrap().into_data() {
            text.extend_from_slice(&data);
        }
    }
    String::from_utf8(text).unwrap()
}

/// Answers with the path and the body, doubled.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = text(request.into_body()).await;
    Ok(Response::new(format!("{path} {body}{body}")))
}

#[divisi::test(worker_threads = 2)]
async fn http_1_requests_are_answered_over_one_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = divisi::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        hyper::server::conn::http1::Builder::new()
            .timer(DivisiTimer::new())
            .serve_connection(stream, service_fn(answer))
            .await
    });

    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    let connection = divisi::spawn(connection);
    // Longer than any one read, so that the body comes in pieces.
    for length in [0, 10, 200_000] {
        client.ready().await.unwrap();
        let body = "x".repeat(length);
        let request = Request::post(format!("/{length}")).body(body.clone());
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let expected = format!("/{length} {body}{body}");
        assert!(text(response.into_body()).await == expected);
    }
    drop(client);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn streams_without_hypers_traits_go_to_it_in_a_wrapper_and_descriptors_as_they_are() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let (near, far) = (Async::new(near).unwrap(), Async::new(far).unwrap());
    let server = divisi::spawn(async move {
        hyper::server::conn::http1::Builder::new()
            .timer(DivisiTimer::new())
            .serve_connection(HyperIo::new(BufReader::new(far)), service_fn(answer))
            .await
    });
    let (mut client, connection) = hyper::client::conn::http1::handshake(near).await.unwrap();
    let connection = divisi::spawn(connection);
    for length in [0, 10, 200_000] {
        client.ready().await.unwrap();
        let body = "x".repeat(length);
        let request = Request::post("/").body(body.clone());
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert!(text(response.into_body()).await == format!("/ {body}{body}"));
    }
    drop(client);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn http_2_streams_run_in_tasks_of_the_executor() {
    let (near, far) = UnixStream::pair().unwrap();
    let server = divisi::spawn(async move {
        hyper::server::conn::http2::Builder::new(DivisiExecutor::new())
            .timer(DivisiTimer::new())
            .serve_connection(far, service_fn(answer))
            .await
    });
    let (client, connection) =
        hyper::client::conn::http2::handshake::<_, _, String>(DivisiExecutor::new(), near)
            .await
            .unwrap();
    let connection = divisi::spawn(connection);
    let requests: Vec<_> = (0..20)
        .map(|i| {
            let mut client = client.clone();
            divisi::spawn(async move {
                let request = Request::post(format!("http://divisi/{i}"))
                    .body(i.to_string())
                    .unwrap();
                let response = client.send_request(request).await.unwrap();
                assert_eq!(text(response.into_body()).await, format!("/{i} {i}{i}"));
            })
        })
        .collect();
    drop(client);
    for request in requests {
        request.await.unwrap();
    }
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[divisi::test(clock = "virtual")]
async fn a_client_that_sends_no_header_is_cut_off_after_the_time_given() {
    let (near, far) = UnixStream::pair().unwrap();
    let start = Instant::now();
    let served = hyper::server::conn::http1::Builder::new()
        .timer(DivisiTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(far, service_fn(answer))
        .await;
    assert!(served.unwrap_err().is_timeout());
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    drop(near);
}

#[divisi::test(clock = "virtual")]
async fn the_timer_sleeps_resets_and_tells_the_time_of_the_runtime() {
    let timer = DivisiTimer::new();
    let start = timer.now();
    timer.sleep(Duration::from_secs(10)).await;
    assert_eq!(timer.now() - start, Duration::from_secs(10));
    let mut sleep = timer.sleep_until(start + Duration::from_secs(60));
    timer.reset(&mut sleep, start + Duration::from_secs(20));
    sleep.await;
    assert_eq!(timer.now() - start, Duration::from_secs(20));
}

#[divisi::test]
async fn the_executor_spawns_into_the_current_runtime() {
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let ran = ran.clone();
        DivisiExecutor::new().execute(async move {
            ran.fetch_add(1, Ordering::Relaxed);
        });
    }
    while ran.load(Ordering::Relaxed) < 10 {
        divisi::yield_now().await;
    }
}
