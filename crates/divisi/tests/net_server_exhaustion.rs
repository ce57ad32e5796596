//! A server without free descriptors. Alone in its process, whose limit it lowers.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divisi::channel::oneshot;
use divisi::net::{Server, TcpStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_server_out_of_descriptors_reports_it_once_serves_on_and_recovers() {
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = reports.clone();
    let runtime = divisi::Runtime::builder()
        .worker_threads(1)
        .clock(divisi::Clock::Virtual)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            seen.lock().unwrap().push(report.to_string());
            let _ = tell.lock().unwrap().take().map(|tell| tell.send(()));
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let bound = Server::builder().bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addrs()[0];
        let server = bound.serve(|stream, _| async move {
            let mut byte = [0];
            while stream.read(&mut byte).await? == 1 {
                stream.write_all(&byte).await?;
            }
            Ok::<(), std::io::Error>(())
        });
        async fn ask(stream: &TcpStream) {
            let mut byte = [0];
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut byte).await.unwrap();
        }
        let early = TcpStream::connect(address).await.unwrap();
        ask(&early).await;

        let limit = getrlimit(Resource::Nofile);
        // The descriptor of this probe is the lowest that is free: the client below gets it, and the server none.
        let probe = std::fs::File::open("/dev/null").unwrap();
        let lowest = u64::try_from(probe.as_raw_fd()).unwrap();
        drop(probe);
        let lowered = Rlimit {
            current: Some(lowest + 1),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        let late = TcpStream::connect(address).await;
        let told = told.await;
        ask(&early).await;
        // Several tries long.
        divisi::time::sleep(Duration::from_secs(10)).await;
        setrlimit(Resource::Nofile, limit).unwrap();

        told.expect("the failure is reported");
        ask(&late.unwrap()).await;
        ask(&early).await;
        drop(early);
        drop(server);
    });
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("goes on trying"), "{reports:?}");
    assert!(reports[0].contains("os error 24"), "{reports:?}");
}
