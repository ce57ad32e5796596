//! Servers: who is served, who waits, and how they end.

use std::io::{ErrorKind, Read};
use std::os::unix::net as std_unix;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::channel::oneshot;
use divisi::io::{AsyncReadExt, StreamReader};
use divisi::net::{BindError, Server, TcpListener, TcpStream, UnixListener, UnixStream};
use divisi::sync::Event;
use divisi::time::{Instant, sleep, timeout};
use divisi::{Clock, Runtime};

const LOCAL: &str = "127.0.0.1:0";

/// Answers each line with itself until the end.
async fn echo(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = StreamReader::new(stream);
    while let Some(line) = stream.read_line().await? {
        let line = line.to_owned();
        stream.get_ref().write_all(line.as_bytes()).await?;
    }
    Ok(())
}

async fn ask(stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello\n").await?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello\n");
    Ok(())
}

/// Whether the server has ended the connection: an end or a reset, depending on what was under way.
async fn is_ended(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// A runtime, and the messages of its reports.
fn runtime_with_reports(clock: Clock) -> (Runtime, Arc<Mutex<Vec<String>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = reports.clone();
    let runtime = Runtime::builder()
        .worker_threads(2)
        .clock(clock)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| seen.lock().unwrap().push(report.to_string()))
        .build()
        .unwrap();
    (runtime, reports)
}

#[divisi::test(worker_threads = 2)]
async fn every_peer_is_served_in_a_task_of_its_own() {
    let bound = Server::builder().nodelay(true).bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let server = bound.serve(|stream, peer| {
        assert!(peer.ip().is_loopback());
        assert!(stream.nodelay().unwrap());
        echo(stream)
    });
    let clients: Vec<_> = (0..50)
        .map(|_| {
            divisi::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                for _ in 0..10 {
                    ask(&stream).await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.cancelled, report.stuck), (0, 0));
}

#[test]
fn failures_of_handlers_are_reported_and_the_others_go_on() {
    let (runtime, reports) = runtime_with_reports(Clock::Real);
    runtime.block_on(async {
        let bound = Server::builder().bind(LOCAL).await.unwrap();
        let address = bound.local_addrs()[0];
        let number = AtomicUsize::new(0);
        let server = bound.serve(move |stream, _| {
            let number = number.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => echo(stream).await,
                    1 => Err(std::io::Error::other("this one fails")),
                    _ => panic!("this one panics"),
                }
            }
        });
        let healthy = TcpStream::connect(address).await.unwrap();
        ask(&healthy).await.unwrap();
        for _ in 0..2 {
            let other = TcpStream::connect(address).await.unwrap();
            assert!(is_ended(other).await);
        }
        ask(&healthy).await.unwrap();
        drop(healthy);
        server.shutdown(Duration::from_secs(60)).await;
    });
    drop(runtime);
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 2, "{reports:?}");
    let failed = reports.iter().find(|text| text.contains("this one fails"));
    let failed = failed.expect("the error is reported");
    assert!(failed.contains("the handler of the connection from 127.0.0.1:"));
    assert!(failed.contains("net_server.rs"), "where it was served");
    assert!(reports.iter().any(|text| text.contains("this one panics")));
}

#[divisi::test(worker_threads = 2)]
async fn peers_beyond_the_limit_wait_until_a_connection_ends() {
    let bound = Server::builder()
        .max_connections(2)
        .bind(LOCAL)
        .await
        .unwrap();
    let address = bound.local_addrs()[0];
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = most.clone();
    let server = bound.serve(move |stream, _| {
        let seen = seen.clone();
        async move {
            let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
            seen.1.fetch_max(now, Ordering::SeqCst);
            let result = echo(stream).await;
            seen.0.fetch_sub(1, Ordering::SeqCst);
            result
        }
    });
    let first = TcpStream::connect(address).await.unwrap();
    let second = TcpStream::connect(address).await.unwrap();
    ask(&first).await.unwrap();
    ask(&second).await.unwrap();
    // Connected by the system, not accepted by the server.
    let third = TcpStream::connect(address).await.unwrap();
    third.write_all(b"hello\n").await.unwrap();
    ask(&first).await.unwrap();
    assert_eq!(server.connections(), 2);
    assert_eq!(
        third.try_read(&mut [0; 6]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    drop(second);
    let mut answer = [0; 6];
    third.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello\n");
    drop((first, third));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            divisi::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                ask(&stream).await.unwrap();
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(most.1.load(Ordering::SeqCst), 2);
}

#[divisi::test(worker_threads = 2)]
async fn after_stop_accepting_nobody_gets_in_and_connections_go_on() {
    let bound = Server::builder().bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let stopping = bound.stopping();
    let server = bound.serve(|stream, _| echo(stream));
    let client = TcpStream::connect(address).await.unwrap();
    ask(&client).await.unwrap();
    assert!(!stopping.is_set());

    server.stop_accepting().await;
    assert!(stopping.is_set());
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    ask(&client).await.unwrap();
    assert_eq!(server.connections(), 1);
    drop(client);
    server.wait().await;
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_shutdown_gives_the_grace_and_cancels_who_has_not_ended() {
    let (runtime, reports) = runtime_with_reports(Clock::Virtual);
    runtime.block_on(async {
        let bound = Server::builder().bind(LOCAL).await.unwrap();
        let address = bound.local_addrs()[0];
        let number = AtomicUsize::new(0);
        let served = Arc::new(Event::new());
        let both = served.clone();
        let server = bound.serve(move |stream, _| {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let both = both.clone();
            async move {
                if number == 1 {
                    both.set();
                }
                // No time passes before the second one is there.
                both.wait().await;
                // The first ends within the grace; the second never.
                let time = if number == 0 { 3 } else { u64::MAX };
                sleep(Duration::from_secs(time)).await;
                drop(stream);
                Ok::<(), std::io::Error>(())
            }
        });
        let clients = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        served.wait().await;
        let begin = Instant::now();
        let report = server.shutdown(Duration::from_secs(10)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
        assert_eq!((report.finished, report.cancelled, report.stuck), (1, 1, 0));
        for client in clients {
            assert!(is_ended(client).await);
        }
    });
    assert!(reports.lock().unwrap().is_empty(), "a cancel is silent");
}

#[divisi::test(worker_threads = 2)]
async fn abort_ends_connections_whose_peers_do_not_read() {
    let bound = Server::builder().bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let server = bound.serve(move |stream, _| {
        let tell = tell.lock().unwrap().take();
        async move {
            let _ = tell.map(|tell| tell.send(()));
            // Waits for ever: the peer never reads.
            stream.write_all(&vec![0; 64 << 20]).await
        }
    });
    let client = TcpStream::connect(address).await.unwrap();
    told.await.unwrap();
    server.abort();
    server.wait().await;
    assert_eq!(server.connections(), 0);
    assert!(is_ended(client).await);
}

#[divisi::test(worker_threads = 2)]
async fn dropping_a_server_ends_it() {
    let bound = Server::builder().bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let server = bound.serve(|stream, _| echo(stream));
    let client = TcpStream::connect(address).await.unwrap();
    ask(&client).await.unwrap();
    drop(server);
    assert!(is_ended(client).await);
}

#[divisi::test(worker_threads = 2)]
async fn a_slow_peer_costs_the_others_nothing() {
    let bound = Server::builder().bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let server = bound.serve(|stream, _| echo(stream));
    let slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"hal").await.unwrap();
    for _ in 0..20 {
        let quick = TcpStream::connect(address).await.unwrap();
        ask(&quick).await.unwrap();
    }
    slow.write_all(b"f\n").await.unwrap();
    let mut answer = [0; 5];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"half\n");
    drop(slow);
    server.shutdown(Duration::from_secs(60)).await;
}

#[divisi::test]
async fn a_bind_that_fails_names_the_address() {
    let taken = TcpListener::bind(LOCAL).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::builder().bind(address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let inside = error.get_ref().unwrap().downcast_ref::<BindError>();
    assert_eq!(inside.unwrap().address(), address);
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let nothing: [std::net::SocketAddr; 0] = [];
    let error = Server::builder().bind(nothing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = Server::builder().max_connections(0).bind(LOCAL).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[divisi::test(worker_threads = 2)]
async fn several_addresses_are_served_at_once() {
    let addresses = [
        "127.0.0.1:0".parse().unwrap(),
        "127.0.0.2:0".parse().unwrap(),
    ];
    let bound = Server::builder().bind(addresses).await.unwrap();
    let addresses = bound.local_addrs();
    assert_eq!(addresses.len(), 2);
    let server = bound.serve(|stream, _| echo(stream));
    for address in &addresses {
        ask(&TcpStream::connect(address).await.unwrap())
            .await
            .unwrap();
    }
    server.stop_accepting().await;
    for address in &addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_listener_that_nobody_comes_to_takes_no_place_from_the_others() {
    let addresses = [
        "127.0.0.1:0".parse().unwrap(),
        "127.0.0.2:0".parse().unwrap(),
    ];
    let bound = Server::builder()
        .max_connections(1)
        .bind(addresses)
        .await
        .unwrap();
    let addresses = bound.local_addrs();
    let server = bound.serve(|stream, _| echo(stream));
    // One after the other, at each in turn: both listeners have waited by the second round.
    for address in addresses.iter().rev().chain(&addresses) {
        let stream = TcpStream::connect(address).await.unwrap();
        timeout(Duration::from_secs(60), ask(&stream))
            .await
            .expect("it is served")
            .unwrap();
    }
    // Both at once: one waits for the other.
    let first = TcpStream::connect(addresses[0]).await.unwrap();
    ask(&first).await.unwrap();
    let second = TcpStream::connect(addresses[1]).await.unwrap();
    second.write_all(b"hello\n").await.unwrap();
    ask(&first).await.unwrap();
    assert_eq!(server.connections(), 1);
    drop(first);
    second.read_exact(&mut [0; 6]).await.unwrap();
}

#[divisi::test]
async fn the_greatest_limit_of_connections_is_none() {
    let bound = Server::builder().max_connections(usize::MAX);
    let bound = bound.bind(LOCAL).await.unwrap();
    let address = bound.local_addrs()[0];
    let _server = bound.serve(|stream, _| echo(stream));
    ask(&TcpStream::connect(address).await.unwrap())
        .await
        .unwrap();
}

#[divisi::test(worker_threads = 2)]
async fn servers_with_reuse_port_share_an_address_and_others_are_refused() {
    let first = Server::builder()
        .reuse_port(true)
        .bind(LOCAL)
        .await
        .unwrap();
    let address = first.local_addrs()[0];
    let second = Server::builder()
        .reuse_port(true)
        .bind(address)
        .await
        .unwrap();
    assert_eq!(
        Server::builder().bind(address).await.unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    let first = first.serve(|stream, _| echo(stream));
    let second = second.serve(|stream, _| echo(stream));
    // Whichever the system chooses.
    for _ in 0..10 {
        ask(&TcpStream::connect(address).await.unwrap())
            .await
            .unwrap();
    }
    first.stop_accepting().await;
    for _ in 0..10 {
        ask(&TcpStream::connect(address).await.unwrap())
            .await
            .unwrap();
    }
    drop(second);
}

async fn serve_unix(path: &std::path::Path) -> std::io::Result<Server> {
    let bound = Server::builder().bind_unix(path)?;
    Ok(bound.serve(|stream: UnixStream, _| async move { stream.write_all(b"hello").await }))
}

#[divisi::test]
async fn a_unix_server_replaces_what_a_dead_one_left_and_removes_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    // Dropping a listener leaves its file.
    drop(std_unix::UnixListener::bind(&path).unwrap());
    assert!(path.exists());

    let server = serve_unix(&path).await.unwrap();
    let mut text = String::new();
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");

    let error = serve_unix(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("another server"), "{error}");

    server.stop_accepting().await;
    assert!(!path.exists());
}

#[divisi::test]
async fn a_unix_server_touches_no_file_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    std::fs::write(&path, "precious").unwrap();
    let error = serve_unix(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();

    // Another server takes the path over.
    let server = serve_unix(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    server.stop_accepting().await;
    assert!(path.exists(), "it is the other server's");
    drop(other);

    let (listener, file) = UnixListener::bind_owned(&path).unwrap();
    assert_eq!(file.path(), path);
    file.keep();
    drop(listener);
    assert!(path.exists());
    let mut nobody = std_unix::UnixStream::connect(&path)
        .map(|mut stream| stream.read(&mut [0]))
        .unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
    nobody = UnixStream::connect(&path).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
}

#[divisi::test(worker_threads = 2)]
async fn an_aborted_unix_server_leaves_the_file_of_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    // Each round hands over between threads several times, which takes long where others keep the machine busy.
    let enough = std::time::Instant::now() + Duration::from_secs(10);
    for _ in (0..1000).take_while(|_| std::time::Instant::now() < enough) {
        let server = serve_unix(&path).await.unwrap();
        let copy = path.clone();
        let (tries, tried) = oneshot::channel();
        let taking_over = divisi::spawn_blocking(move || {
            assert!(UnixListener::bind_owned(&copy).is_err());
            tries.send(()).unwrap();
            loop {
                if let Ok(successor) = UnixListener::bind_owned(&copy) {
                    return successor;
                }
            }
        });
        tried.await.unwrap();
        server.abort();
        server.stop_accepting().await;
        let successor = taking_over.await.unwrap();
        assert!(path.exists());
        drop(successor);
    }
}
