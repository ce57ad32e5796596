//! hyper: curl, h2load, wrk, httpx and our own client.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divisi::sync::Event;
use divisi::time::timeout;
use divisi_examples::http::{self, Client};
use divisi_examples::serving;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};

use crate::ANY_PORT;
use crate::peers::{self, run, text};

const GRACE: Duration = Duration::from_secs(30);

#[divisi::test(worker_threads = 2)]
async fn curl_is_answered_by_http_1_and_by_http_2() {
    let Some(curl) = peers::program("curl") else {
        return;
    };
    let server = http::serve(ANY_PORT).await.unwrap();
    let base = format!("http://{}", server.address());
    for (flag, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let common = [
            "-sS",
            "--max-time",
            "30",
            flag,
            "-w",
            "|%{http_version} %{http_code}",
        ];
        let page = |path: &str| {
            [&common[..], &[]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .chain([format!("{base}{path}")])
                .collect::<Vec<_>>()
        };
        let greeting = run(&curl, page("/"), "").await;
        assert_eq!(
            text(&greeting.stdout),
            format!("Hello from divisi!\n|{version} 200")
        );
        let computed = run(&curl, page("/primes/1000"), "").await;
        assert_eq!(text(&computed.stdout), format!("168\n|{version} 200"));
        let missing = run(&curl, page("/nowhere"), "").await;
        assert_eq!(
            text(&missing.stdout),
            format!("no such page\n|{version} 404")
        );
        let refused = run(&curl, page("/primes/many"), "").await;
        assert!(text(&refused.stdout).ends_with("400"));

        // More than fits into any buffer on the way.
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut echo = page("/echo");
        echo.extend(["--data-binary", "@-", "-H", "Expect:"].map(str::to_owned));
        let echoed = run(&curl, echo, body.clone()).await;
        let tail = format!("|{version} 200");
        assert!(echoed.stdout == [&body[..], tail.as_bytes()].concat());
    }
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn h2load_sees_no_error() {
    let Some(h2load) = peers::program("h2load") else {
        return;
    };
    let server = http::serve(ANY_PORT).await.unwrap();
    let url = format!("http://{}/", server.address());
    let load = ["-n", "5000", "-c", "8", "-m", "10", &url];
    let report = text(&run(&h2load, load, "").await.stdout);
    assert!(
        report.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout")
            && report.contains("status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx"),
        "{report}"
    );
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn wrk_sees_no_error() {
    let Some(wrk) = peers::program("wrk") else {
        return;
    };
    let server = http::serve(ANY_PORT).await.unwrap();
    let url = format!("http://{}/", server.address());
    let report = text(&run(&wrk, ["-t1", "-c32", "-d1s", &url], "").await.stdout);
    assert!(
        report.contains("requests in")
            && !report.contains("\n  0 requests in")
            && !report.contains("Socket errors")
            && !report.contains("Non-2xx"),
        "{report}"
    );
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn httpx_is_answered_by_both_versions() {
    let Some(python) = peers::python(&["httpx", "h2"]) else {
        return;
    };
    let server = http::serve(ANY_PORT).await.unwrap();
    let script = "
import httpx, sys
base = sys.argv[1]
for version, client in ('HTTP/1.1', httpx.Client()), ('HTTP/2', httpx.Client(http1=False, http2=True)):
    with client:
        for size in 0, 1, 100_000:
            body = b'x' * size
            answer = client.post(base + '/echo', content=body)
            assert answer.status_code == 200 and answer.content == body, (version, size, answer)
            assert answer.http_version == version, answer.http_version
        assert client.get(base + '/primes/10').text == '4\\n'
print('fine')
";
    let base = format!("http://{}", server.address());
    let output = run(&python, ["-c", script, &base], "").await;
    assert_eq!(text(&output.stdout), "fine\n");
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn our_client_speaks_both_versions_and_shares_one_connection() {
    let server = http::serve(ANY_PORT).await.unwrap();
    let authority = server.address().to_string();
    let mut client = Client::http1(server.address()).await.unwrap();
    for body in ["", "one", "two"] {
        let (status, answer) = client
            .send(Method::POST, &authority, "/echo", body)
            .await
            .unwrap();
        assert_eq!((status.as_u16(), &answer[..]), (200, body.as_bytes()));
    }
    drop(client);

    let Client::Http2(connection) = Client::http2(server.address()).await.unwrap() else {
        unreachable!("asked for HTTP/2")
    };
    let requests: Vec<_> = (0..100)
        .map(|i| {
            let mut client = Client::Http2(connection.clone());
            let authority = authority.clone();
            divisi::spawn(async move {
                let body = format!("request {i}");
                let answer = client
                    .send(Method::POST, &authority, "/echo", body.clone())
                    .await;
                assert_eq!(answer.unwrap().1, body);
            })
        })
        .collect();
    drop(connection);
    for request in requests {
        request.await.unwrap();
    }
    assert!(server.shutdown(GRACE).await);
}

/// A server whose requests announce themselves by the first event and wait for the second.
async fn held_server() -> (serving::Serving, Arc<Event>, Arc<Event>) {
    let (begun, released) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let events = (begun.clone(), released.clone());
    let service = service_fn(move |_: Request<Incoming>| {
        let (begun, released) = events.clone();
        async move {
            begun.set();
            released.wait().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("done"))))
        }
    });
    let server = serving::serve(ANY_PORT, service).await.unwrap();
    (server, begun, released)
}

#[divisi::test(worker_threads = 2)]
async fn a_graceful_shutdown_lets_requests_end_and_takes_no_more() {
    for http2 in [false, true] {
        let (server, begun, released) = held_server().await;
        let address = server.address();
        let request = divisi::spawn(async move {
            let mut client = if http2 {
                Client::http2(address).await.unwrap()
            } else {
                Client::http1(address).await.unwrap()
            };
            client.get("divisi", "/").await.unwrap()
        });
        // Idle connections do not hold a shutdown up.
        let _idle = Client::http1(address).await.unwrap();
        begun.wait().await;
        let shutdown = divisi::spawn(server.shutdown(GRACE));
        // The listener is closed as soon as the accept loop has seen it.
        while divisi::net::TcpStream::connect(address).await.is_ok() {
            divisi::yield_now().await;
        }
        assert!(!shutdown.is_finished());
        released.set();
        let (status, body) = request.await.unwrap();
        assert_eq!((status.as_u16(), &body[..]), (200, &b"done"[..]));
        assert!(shutdown.await.unwrap());
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_shutdown_gives_up_when_its_grace_is_over() {
    let (server, begun, released) = held_server().await;
    let address = server.address();
    let request = divisi::spawn(async move {
        let mut client = Client::http1(address).await.unwrap();
        client.get("divisi", "/").await.map(|(status, _)| status)
    });
    begun.wait().await;
    assert!(!server.shutdown(Duration::from_millis(1)).await);
    released.set();
    assert!(timeout(GRACE, request).await.unwrap().unwrap().is_ok());
}
