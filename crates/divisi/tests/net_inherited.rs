//! Sockets that whoever started the process opened for it: each test starts this program again, as systemd would.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use divisi::net::{InheritError, Inherited, Server};

/// Set in the process that inherits.
const CHILD: &str = "DIVISI_TEST_INHERITED";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs a test alone in a process that has `first` as descriptor 3 and `second` as descriptor 4, with these variables besides `LISTEN_PID`.
fn start(
    test: &str,
    first: impl Into<OwnedFd>,
    second: impl Into<OwnedFd>,
    variables: &[(&str, &str)],
) -> std::process::Child {
    // The shell's number stays that of the program which takes its place.
    let line = r#"LISTEN_PID=$$ exec "$0" "$@" 3<&0 4<&1 0</dev/null 1>&2"#;
    Command::new("sh")
        .args(["-c", line])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::from(first.into()))
        .stdout(Stdio::from(second.into()))
        .spawn()
        .unwrap()
}

fn ask(mut stream: impl Read + Write) {
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn a_server_accepts_from_the_sockets_that_it_inherits() {
    if is_child() {
        return divisi::run(serve_one_each());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    // Connected before anybody accepts: they wait for the service, and are lost if it listens elsewhere.
    let web = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let admin = UnixStream::connect(&path).unwrap();
    let variables = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:admin")];
    let test = "a_server_accepts_from_the_sockets_that_it_inherits";
    let mut child = start(test, tcp, unix, &variables);
    ask(web);
    ask(admin);
    assert!(child.wait().unwrap().success());
}

async fn serve_one_each() {
    let mut inherited = Inherited::take().unwrap();
    assert!(inherited.names().eq(["web", "admin"]));
    assert!(
        inherited.tcp(Some("admin")).is_empty(),
        "that is a Unix socket"
    );
    let again = Inherited::take().unwrap_err();
    assert!(
        matches!(again, InheritError::Taken { descriptor: 3 }),
        "{again}"
    );
    let sockets = std::process::Command::new("sh")
        .args([
            "-c",
            "ls -l /proc/self/fd/3 /proc/self/fd/4 2>/dev/null | grep -c socket",
        ])
        .output()
        .unwrap();
    assert_eq!(sockets.stdout, b"0\n", "children do not get the sockets");

    let (ended, mut ends) = divisi::channel::mpsc::unbounded();
    let at_end = ended.clone();
    let web = Server::builder()
        .from_listeners(inherited.tcp(Some("web")))
        .unwrap()
        .serve(move |stream, _| {
            let ended = at_end.clone();
            async move {
                divisi::io::copy(&stream, &stream).await?;
                ended.send("web").map_err(std::io::Error::other)
            }
        });
    let admin = Server::builder()
        .from_unix_listeners(inherited.unix(None))
        .unwrap()
        .serve(move |stream, _| {
            let ended = ended.clone();
            async move {
                divisi::io::copy(&stream, &stream).await?;
                ended.send("admin").map_err(std::io::Error::other)
            }
        });
    assert_eq!(inherited.names().count(), 0);
    ends.recv().await.unwrap();
    ends.recv().await.unwrap();
    let patience = Duration::from_secs(60);
    assert_eq!(web.shutdown(patience).await.cancelled, 0);
    assert_eq!(admin.shutdown(patience).await.cancelled, 0);
}

#[test]
fn a_descriptor_that_is_announced_and_missing_is_named() {
    let test = "a_descriptor_that_is_announced_and_missing_is_named";
    if is_child() {
        let error = Inherited::take().unwrap_err();
        assert!(
            matches!(
                error,
                InheritError::Taken { .. } | InheritError::NotOpen { .. }
            ),
            "{error}"
        );
        // Nothing was taken, or descriptor 3 would be the one that is named now.
        let again = Inherited::take().unwrap_err();
        assert_eq!(error.to_string(), again.to_string());
        return;
    }
    let (one, two) = UnixStream::pair().unwrap();
    let mut child = start(test, one, two, &[("LISTEN_FDS", "500")]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_does_not_listen_is_given_as_it_is() {
    let test = "what_does_not_listen_is_given_as_it_is";
    if is_child() {
        let mut inherited = Inherited::take().unwrap();
        assert!(inherited.names().eq(["unknown", "unknown"]));
        assert!(inherited.tcp(None).is_empty() && inherited.unix(None).is_empty());
        let [datagrams, file] = <[OwnedFd; 2]>::try_from(inherited.other(None)).unwrap();
        let datagrams = divisi::net::UdpSocket::from_std(datagrams.into()).unwrap();
        assert!(datagrams.local_addr().unwrap().ip().is_loopback());
        assert!(std::fs::File::from(file).metadata().unwrap().is_file());
        return;
    }
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = tempfile::tempfile().unwrap();
    let mut child = start(test, datagrams, file, &[("LISTEN_FDS", "2")]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn variables_for_another_process_pass_nothing() {
    let test = "variables_for_another_process_pass_nothing";
    if is_child() {
        assert_eq!(Inherited::take().unwrap().names().count(), 0);
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", std::process::id().to_string())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
}
