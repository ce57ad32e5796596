//! Names and addresses.

use std::io::ErrorKind;
use std::net::SocketAddr;

use divisi::net::{TcpListener, TcpStream, UdpSocket, lookup_host};

#[divisi::test]
async fn a_name_is_resolved_on_a_pool_of_its_own() {
    let found: Vec<SocketAddr> = lookup_host("localhost:80").await.unwrap().collect();
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 80)
    );
    assert_eq!(divisi::Handle::current().metrics().blocking.started, 0);
}

#[divisi::test]
async fn a_number_is_resolved_without_the_pool() {
    let found: Vec<SocketAddr> = lookup_host(("127.0.0.1", 80)).await.unwrap().collect();
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 80))]);
    TcpListener::bind("127.0.0.1:0").await.unwrap();
    UdpSocket::bind("[::1]:0").await.ok();
    assert_eq!(divisi::Handle::current().metrics().blocking.started, 0);
}

#[divisi::test]
async fn a_name_can_be_bound_and_connected_to() {
    let listener = TcpListener::bind(("localhost", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = TcpStream::connect(format!("localhost:{port}"))
        .await
        .unwrap();
    assert_eq!(stream.peer_addr().unwrap().port(), port);
}

#[divisi::test]
async fn a_text_without_a_port_is_refused_with_what_to_write() {
    let error = TcpStream::connect("localhost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("name:port"), "{error}");
}

#[divisi::test]
async fn a_name_that_does_not_exist_is_an_error() {
    // The top-level domain `invalid` is reserved for this (RFC 6761).
    assert!(lookup_host("no-such-host.invalid:80").await.is_err());
}

#[test]
fn a_name_cannot_be_resolved_outside_a_runtime() {
    let looked_up = futures_lite::future::block_on(async {
        lookup_host("localhost:80").await.map(|found| found.count())
    });
    let error = looked_up.unwrap_err();
    assert!(error.to_string().contains("no divisi runtime"), "{error}");
}
