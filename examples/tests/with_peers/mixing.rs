//! Across the border between synchronous and asynchronous code, in both directions.

use std::cell::Cell;
use std::io::{BufReader, Cursor, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::{self, ThreadId};

use divisi::channel::oneshot;
use divisi::io::StreamReader;
use divisi::net::Server;
use divisi_examples::mixing::{BlockingClient, Gone, Resident, ask, import};

use crate::ANY_PORT;

/// Answers each line with the line in capitals, and refuses the line `bad` by ending the connection.
async fn capitals() -> (Server, SocketAddr) {
    let bound = Server::builder().bind(ANY_PORT).await.unwrap();
    let address = bound.local_addrs()[0];
    let server = bound.serve(|stream, _| async move {
        let mut stream = StreamReader::new(stream);
        while let Some(line) = stream.read_line().await? {
            if line == "bad\n" {
                break;
            }
            let answer = line.to_uppercase();
            stream.get_ref().write_all(answer.as_bytes()).await?;
        }
        Ok::<(), std::io::Error>(())
    });
    (server, address)
}

#[test]
fn threads_without_a_runtime_share_a_client_that_asks_all_at_once() {
    let runtime = divisi::Runtime::builder()
        .worker_threads(1)
        .build()
        .unwrap();
    let (_server, address) = runtime.block_on(capitals());
    let client = BlockingClient::new(address).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(client.ask(&["a", "b", "c"]).unwrap(), ["A", "B", "C"]));
        }
    });
    let error = client.ask(&["good", "bad"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[divisi::test(worker_threads = 2)]
async fn a_synchronous_library_calls_back_into_asynchronous_code() {
    let (_server, address) = capitals().await;
    let source = BufReader::new(Cursor::new("one\ntwo\nthree\n"));
    let found = import(source, move |line| async move { ask(address, &line).await });
    assert_eq!(found.await.unwrap(), ["ONE", "TWO", "THREE"]);
    let source = BufReader::new(Cursor::new("one\nbad\nthree\n"));
    let found = import(source, move |line| async move { ask(address, &line).await });
    assert_eq!(found.await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// Cannot leave its thread, and tells which one it dies on.
struct Counter {
    count: Rc<Cell<u32>>,
    died: Option<oneshot::Sender<ThreadId>>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        let died = self.died.take().unwrap();
        died.send(thread::current().id()).unwrap();
    }
}

fn counter() -> (Resident<Counter>, oneshot::Receiver<ThreadId>) {
    let (sender, died) = oneshot::channel();
    let resident = Resident::new(|| Counter {
        count: Rc::default(),
        died: Some(sender),
    });
    (resident.unwrap(), died)
}

#[divisi::test(worker_threads = 2)]
async fn tasks_share_a_resident_that_never_leaves_its_thread() {
    let (resident, died) = counter();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let resident = resident.clone();
            divisi::spawn(async move {
                let count = |counter: &mut Counter| {
                    counter.count.set(counter.count.get() + 1);
                    thread::current().id()
                };
                resident.with(count).await.unwrap()
            })
        })
        .collect();
    let home = resident.with(|_| thread::current().id()).await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), home);
    }
    assert_eq!(resident.with(|counter| counter.count.get()).await, Ok(100));
    drop(resident);
    assert_eq!(died.await, Ok(home));
}

#[divisi::test]
async fn a_resident_that_panicked_is_gone_for_all() {
    let (resident, died) = counter();
    let broken = resident.with(|_| panic!("this panic is expected")).await;
    assert_eq!(broken, Err::<(), _>(Gone));
    died.await.unwrap();
    assert_eq!(
        resident.with(|counter| counter.count.get()).await,
        Err(Gone)
    );
}
