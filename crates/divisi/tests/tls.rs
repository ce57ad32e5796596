//! TLS: who is trusted, what a peer cannot do to us, and how a connection ends.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use divisi::io::{AsyncReadExt, AsyncWriteExt, StreamReader};
use divisi::net::{Server, TcpListener, TcpStream, UnixStream};
use divisi::time::{Instant, timeout};
use divisi::tls::{Acceptor, ConfigError, Connector, HandshakeError, TlsStream, rustls};
use divisi::{join, spawn};

const CERTIFICATE: &[u8] = include_bytes!("tls/certificate.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

fn acceptor() -> Acceptor {
    Acceptor::from_pem(CERTIFICATE, KEY).unwrap()
}

fn connector() -> Connector {
    Connector::trusting_pem(AUTHORITY).unwrap()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn tls() -> (TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let (client, server) = tcp().await;
    let (connector, acceptor) = (connector(), acceptor());
    let (client, server) = join!(
        connector.connect("localhost", client),
        acceptor.accept(server)
    );
    (client.unwrap(), server.unwrap())
}

#[divisi::test(worker_threads = 2)]
async fn bulk_data_passes_both_ways_at_once() {
    const BYTES: usize = 4 << 20;
    async fn exchange(stream: TlsStream<TcpStream>, seed: u8) {
        let (mut read, mut write) = divisi::io::split(stream);
        let sender = spawn(async move {
            let data: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8 ^ seed).collect();
            write.write_all(&data).await.unwrap();
            write.close().await.unwrap();
        });
        let mut data = Vec::new();
        read.read_to_end(&mut data).await.unwrap();
        assert_eq!(data.len(), BYTES);
        let other = 1 - seed;
        assert!(
            data.iter()
                .enumerate()
                .all(|(at, byte)| *byte == (at % 251) as u8 ^ other)
        );
        sender.await.unwrap();
    }
    let (client, server) = tls().await;
    let client = spawn(exchange(client, 0));
    exchange(server, 1).await;
    client.await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn both_sides_know_what_was_agreed_on() {
    let (client, server) = tcp().await;
    let connector = connector().alpn(["h2", "http/1.1"]);
    let acceptor = acceptor().alpn(["http/1.1"]);
    let (client, server) = join!(
        connector.connect("localhost", client),
        acceptor.accept(server)
    );
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.alpn(), Some(&b"http/1.1"[..]));
    assert_eq!(server.alpn(), Some(&b"http/1.1"[..]));
    assert_eq!(server.server_name(), Some("localhost"));
    assert_eq!(client.version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.peer_certificates().unwrap().len(), 1);
    assert!(server.peer_certificates().is_none());
}

#[divisi::test(worker_threads = 2)]
async fn who_cannot_be_trusted_or_understood_is_refused_with_the_reason() {
    // (name, the client's, the server's)
    let somebody_else = Connector::trusting_pem(CERTIFICATE).unwrap();
    let cases = [
        ("example.org", connector(), acceptor()),
        ("localhost", somebody_else, acceptor()),
        ("localhost", connector().alpn(["a"]), acceptor().alpn(["b"])),
    ];
    for (name, connector, acceptor) in cases {
        let (client, server) = tcp().await;
        let (client, server) = join!(connector.connect(name, client), acceptor.accept(server));
        let client = client.unwrap_err();
        assert!(matches!(client, HandshakeError::Tls(_)), "{client}");
        assert_eq!(std::io::Error::from(client).kind(), ErrorKind::InvalidData);
        assert!(matches!(server.unwrap_err(), HandshakeError::Tls(_)));
    }
    let (client, _server) = tcp().await;
    let error = connector().connect("not a name", client).await;
    assert!(matches!(error, Err(HandshakeError::InvalidName(name)) if name == "not a name"));
}

#[divisi::test(worker_threads = 2)]
async fn a_peer_that_does_not_speak_tls_is_refused() {
    let (client, server) = tcp().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = acceptor().accept(server).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Tls(_)), "{error}");

    let (client, server) = tcp().await;
    drop(client);
    let error = acceptor().accept(server).await.unwrap_err();
    assert!(
        matches!(&error, HandshakeError::Io(io) if io.kind() == ErrorKind::UnexpectedEof),
        "{error}"
    );
}

#[divisi::test(clock = "virtual")]
async fn a_silent_peer_costs_the_limit_and_is_hung_up_on() {
    let limit = Duration::from_secs(7);
    for is_server in [true, false] {
        let (near, mut far) = UnixStream::pair().unwrap();
        let begin = Instant::now();
        let error = if is_server {
            let acceptor = acceptor().handshake_limit(limit);
            acceptor.accept(near).await.unwrap_err()
        } else {
            let connector = connector().handshake_limit(limit);
            connector.connect("localhost", near).await.unwrap_err()
        };
        assert_eq!(begin.elapsed(), limit);
        assert!(matches!(error, HandshakeError::TimedOut(told) if told == limit));
        // The far end reads what there was, and the end.
        far.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_cancelled_handshake_closes_the_connection() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let handshake = spawn(async move { connector().connect("localhost", near).await.is_ok() });
    let mut hello = [0; 5];
    far.read_exact(&mut hello).await.unwrap();
    handshake.cancel("the test has seen enough");
    far.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(handshake.await.unwrap_err().is_cancelled());
}

#[divisi::test(worker_threads = 2)]
async fn an_upgrade_in_place_takes_the_bytes_that_were_read_already() {
    let (client, server) = tcp().await;
    let server = spawn(async move {
        let mut server = StreamReader::new(server);
        assert_eq!(server.read_line().await.unwrap(), Some("STARTTLS\n"));
        // The client did not wait for an answer, so its handshake may be in the buffer.
        while server.buffered().is_empty() {
            divisi::io::AsyncBufReadExt::fill_buf(&mut server)
                .await
                .unwrap();
        }
        let mut server = StreamReader::new(acceptor().accept(server).await.unwrap());
        assert_eq!(server.read_line().await.unwrap(), Some("secret\n"));
        server.write_all(b"well\n").await.unwrap();
    });
    client.write_all(b"STARTTLS\n").await.unwrap();
    let client = connector().connect("localhost", client).await.unwrap();
    let mut client = StreamReader::new(client);
    client.write_all(b"secret\n").await.unwrap();
    assert_eq!(client.read_line().await.unwrap(), Some("well\n"));
    server.await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn an_end_that_the_peer_did_not_announce_is_no_end() {
    let (mut client, server) = tls().await;
    drop(server);
    let error = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);

    let (mut client, mut server) = tls().await;
    server.close().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    // The other direction goes on.
    client.write_all(b"x").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn a_shutdown_ends_both_sides() {
    let (mut client, server) = tls().await;
    client.write_all(b"unread").await.unwrap();
    let (client, server) = join!(client.shutdown(), server.shutdown());
    client.unwrap();
    server.unwrap();
}

#[divisi::test(clock = "virtual")]
async fn a_peer_that_does_not_answer_a_shutdown_costs_the_limit() {
    let (near, far) = UnixStream::pair().unwrap();
    let limit = Duration::from_secs(3);
    let connector = connector().shutdown_limit(limit);
    let acceptor = acceptor();
    let (near, far) = join!(connector.connect("localhost", near), acceptor.accept(far));
    let (near, _far) = (near.unwrap(), far.unwrap());
    let begin = Instant::now();
    let error = near.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(begin.elapsed(), limit);
}

#[divisi::test(clock = "virtual")]
async fn a_peer_that_does_not_read_keeps_a_close_no_longer_than_the_limit() {
    let (near, far) = UnixStream::pair().unwrap();
    let limit = Duration::from_secs(3);
    let connector = connector().shutdown_limit(limit);
    let acceptor = acceptor();
    let (near, far) = join!(connector.connect("localhost", near), acceptor.accept(far));
    let (mut near, _far) = (near.unwrap(), far.unwrap());
    // More than the system's buffers hold.
    let data = vec![0; 8 << 20];
    let written = timeout(Duration::from_secs(1), near.write_all(&data)).await;
    assert!(written.is_err(), "the peer does not read");
    let begin = Instant::now();
    let error = near.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(begin.elapsed(), limit);
}

#[test]
fn unusable_certificates_are_refused_with_the_reason() {
    let error = Acceptor::from_pem(b"", KEY).unwrap_err();
    assert!(matches!(error, ConfigError::NoCertificate), "{error}");
    let error = Acceptor::from_pem(CERTIFICATE, b"nothing").unwrap_err();
    assert!(matches!(error, ConfigError::Pem(_)), "{error}");
    let error = Acceptor::from_pem(AUTHORITY, KEY).unwrap_err();
    assert!(matches!(error, ConfigError::Tls(_)), "{error}");
    let error = Connector::trusting_pem(KEY).unwrap_err();
    assert!(matches!(error, ConfigError::NoCertificate), "{error}");
}

/// Whether a program is there. Where `DIVISI_REQUIRE_PEERS` is set, it must be.
fn peer_is_there(program: &str) -> bool {
    let there = std::process::Command::new(program)
        .arg("version")
        .output()
        .is_ok();
    if !there {
        let required = std::env::var_os("DIVISI_REQUIRE_PEERS").is_some_and(|it| it != "0");
        assert!(!required, "`{program}` is missing: install it");
        eprintln!("SKIPPED: `{program}` is missing, so nothing was tested against it");
    }
    there
}

#[divisi::test(worker_threads = 2)]
async fn openssl_talks_to_our_server() {
    if !peer_is_there("openssl") {
        return;
    }
    let acceptor = acceptor().alpn(["echo"]);
    let bound = Server::builder().bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addrs()[0];
    let server = bound.serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = StreamReader::new(acceptor.accept(stream).await?);
            let line = stream.read_line().await?.unwrap_or("").to_uppercase();
            stream.write_all(line.as_bytes()).await?;
            stream.into_parts().0.shutdown().await
        }
    });
    let output = divisi::spawn_blocking(move || {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
        let mut client = std::process::Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args(["-servername", "localhost", "-alpn", "echo"])
            .args(["-CAfile", &format!("{folder}/authority.pem")])
            .args(["-connect", &address.to_string()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"hello\n").unwrap();
        client.wait_with_output().unwrap()
    });
    let output = pin!(output).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.stdout, b"HELLO\n", "{errors}");
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(report.cancelled, 0);
}
