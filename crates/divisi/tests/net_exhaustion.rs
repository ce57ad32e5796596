//! A process without free descriptors. Alone in its process, whose limit it lowers.

use std::os::fd::AsRawFd;

use divisi::net::{TcpListener, TcpStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn an_accept_without_a_free_descriptor_fails_and_the_connection_waits() {
    let runtime = divisi::Runtime::builder()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();

        let limit = getrlimit(Resource::Nofile);
        // The next descriptor would be the lowest that is free.
        let next_free = client.as_fd_number() + 1;
        let lowered = Rlimit {
            current: Some(next_free),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        let refused = listener.accept().await;
        setrlimit(Resource::Nofile, limit).unwrap();

        let error = refused.unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::MFILE.raw_os_error()),
            "{error}"
        );
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

trait FdNumber {
    fn as_fd_number(&self) -> u64;
}

impl<T: AsRawFd> FdNumber for T {
    fn as_fd_number(&self) -> u64 {
        u64::try_from(self.as_raw_fd()).unwrap()
    }
}
