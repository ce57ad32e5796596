//! tokio-rustls: OpenSSL at the other end, as client and as server.

use std::fs;
use std::process::Command;

use divisi_examples::tls;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ANY_PORT;
use crate::peers::{self, Peer, text};

/// A certificate for `localhost` that signs itself, with its files.
struct Certificate {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    directory: TempDir,
}

impl Certificate {
    fn new() -> Certificate {
        let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cert.pem"), cert.pem()).unwrap();
        fs::write(
            directory.path().join("key.pem"),
            signing_key.serialize_pem(),
        )
        .unwrap();
        Certificate {
            der: cert.der().clone(),
            key: PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
            directory,
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

#[divisi::test(worker_threads = 2)]
async fn openssls_client_trusts_us_and_is_echoed() {
    let Some(openssl) = peers::program("openssl") else {
        return;
    };
    let certificate = Certificate::new();
    let config = tls::server_config(certificate.der.clone(), certificate.key.clone_key()).unwrap();
    let (address, server) = tls::serve(ANY_PORT, config).await.unwrap();
    let (address, root) = (address.to_string(), certificate.file("cert.pem"));
    for version in ["-tls1_2", "-tls1_3"] {
        let args = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-verify_hostname",
            "localhost",
            "-CAfile",
            &root,
            "-verify_return_error",
            "-quiet",
            "-no_ign_eof",
            version,
        ];
        // Far more than one record.
        let lines: String = (0..2_000).map(|i| format!("line {i}\n")).collect();
        let (openssl, args, sent) = (openssl.clone(), args.map(str::to_owned), lines.clone());
        let received = divisi::spawn_blocking(move || echo_through(&openssl, &args, &sent))
            .await
            .unwrap();
        assert!(received == lines, "{version}: {received}");
    }
    server.cancel("the test is over");
}

/// Sends `lines` by `openssl s_client` and reads as much back before it ends the connection.
fn echo_through(openssl: &std::path::Path, args: &[String], lines: &str) -> String {
    use std::io::{Read, Write};
    use std::process::Stdio;

    let mut child = Command::new(openssl)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut received = vec![0; lines.len()];
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            input.write_all(lines.as_bytes()).unwrap();
            input
        });
        let read = child.stdout.take().unwrap().read_exact(&mut received);
        let input = writing.join().unwrap();
        // The end of its input ends the connection.
        drop(input);
        let output = child.wait_with_output().unwrap();
        read.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        assert!(output.status.success(), "{}", text(&output.stderr));
    });
    String::from_utf8(received).unwrap()
}

#[divisi::test(worker_threads = 2)]
async fn our_client_talks_to_openssls_server() {
    let Some(openssl) = peers::program("openssl") else {
        return;
    };
    let certificate = Certificate::new();
    let mut command = Command::new(&openssl);
    command.args(["s_server", "-accept", "127.0.0.1:0", "-rev"]);
    command.args(["-cert", &certificate.file("cert.pem")]);
    command.args(["-key", &certificate.file("key.pem")]);
    let (_server, line) = Peer::start(&mut command, false, "ACCEPT").unwrap();
    let address = line.trim_start_matches("ACCEPT ").parse().unwrap();
    let config = tls::client_config(certificate.der.clone()).unwrap();
    let mut stream = tls::connect(address, "localhost", config).await.unwrap();
    stream.write_all(b"stressed\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"desserts\n");
    stream.shutdown().await.unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn both_our_ends_agree_and_see_the_end() {
    let certificate = Certificate::new();
    let config = tls::server_config(certificate.der.clone(), certificate.key.clone_key()).unwrap();
    let (address, server) = tls::serve(ANY_PORT, config).await.unwrap();
    let config = tls::client_config(certificate.der.clone()).unwrap();
    let stream = tls::connect(address, "localhost", config).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let expected = sent.clone();
    let writing = divisi::spawn(async move {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap().unwrap();
    assert!(received == expected);
    server.cancel("the test is over");
}

#[divisi::test(worker_threads = 2)]
async fn a_certificate_of_somebody_else_or_for_another_name_is_refused() {
    let certificate = Certificate::new();
    let config = tls::server_config(certificate.der.clone(), certificate.key.clone_key()).unwrap();
    let (address, server) = tls::serve(ANY_PORT, config).await.unwrap();
    let refused = async |root: &CertificateDer<'static>, name: &str| {
        let config = tls::client_config(root.clone()).unwrap();
        let error = tls::connect(address, name, config).await.unwrap_err();
        error.to_string()
    };
    let other = Certificate::new();
    assert!(
        refused(&other.der, "localhost")
            .await
            .contains("certificate")
    );
    let named = refused(&certificate.der, "example.org").await;
    assert!(named.contains("example.org"), "{named}");
    server.cancel("the test is over");
}

#[divisi::test(worker_threads = 2)]
async fn a_client_without_tls_is_an_error_and_the_server_goes_on() {
    let certificate = Certificate::new();
    let config = tls::server_config(certificate.der.clone(), certificate.key.clone_key()).unwrap();
    let (address, server) = tls::serve(ANY_PORT, config).await.unwrap();
    let mut plain = divisi::net::TcpStream::connect(address).await.unwrap();
    AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    drop(plain);
    let config = tls::client_config(certificate.der.clone()).unwrap();
    let mut stream = tls::connect(address, "localhost", config).await.unwrap();
    stream.write_all(b"ok").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok");
    server.cancel("the test is over");
}
