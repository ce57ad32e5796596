//! Synchronous and asynchronous code in one program, across the border in both directions.
//!
//! | from | to | by |
//! |---|---|---|
//! | a synchronous program | asynchronous code | [`BlockingClient`], which keeps a runtime |
//! | a task | a synchronous library, and from its callback back into asynchronous code | [`import`] |
//! | tasks | something synchronous that must stay on its thread | [`Resident`] |

use std::fmt;
use std::future::Future;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::thread;

use divisi::channel::{mpsc, oneshot};
use divisi::io::StreamReader;
use divisi::net::TcpStream;
use divisi::{Handle, Runtime, spawn_blocking};

/// A synchronous client made of asynchronous code, for callers that know nothing of either. Any number of threads may use it at once.
#[derive(Debug)]
pub struct BlockingClient {
    runtime: Runtime,
    server: SocketAddr,
}

impl BlockingClient {
    /// A client of a server that answers each line with a line.
    pub fn new(server: SocketAddr) -> io::Result<BlockingClient> {
        // It only waits for the network: one thread does that for all callers.
        let builder = Runtime::builder().worker_threads(1);
        let runtime = builder.build().map_err(io::Error::other)?;
        Ok(BlockingClient { runtime, server })
    }

    /// Asks all questions at once, and waits for the answers.
    pub fn ask(&self, questions: &[&str]) -> io::Result<Vec<String>> {
        let calls = questions.iter().map(|question| ask(self.server, question));
        self.runtime.block_on(divisi::try_join_all(calls))
    }
}

/// Asks one question.
pub async fn ask(server: SocketAddr, question: &str) -> io::Result<String> {
    let stream = TcpStream::connect(server).await?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut stream = StreamReader::new(stream);
    let answer = stream.read_line().await?;
    let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(answer.trim_end().to_owned())
}

/// A synchronous library, as somebody else wrote it: it reads, waits while it does, and calls back for each line.
fn for_each_line(
    source: impl BufRead,
    mut each: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    source.lines().try_for_each(|line| each(&line?))
}

/// Reads lines by the synchronous library, asks asynchronous code about each, and gives the answers in order. The first error ends it.
///
/// The library runs on a thread that may wait. Its callback is synchronous too, and enters the runtime by its handle.
pub async fn import<S, F>(
    source: S,
    look_up: impl Fn(String) -> F + Send + 'static,
) -> io::Result<Vec<String>>
where
    S: BufRead + Send + 'static,
    F: Future<Output = io::Result<String>>,
{
    let handle = Handle::current();
    let job = spawn_blocking(move || {
        let mut found = Vec::new();
        for_each_line(source, |line| {
            found.push(handle.block_on(look_up(line.to_owned()))?);
            Ok(())
        })?;
        Ok(found)
    });
    job.await.map_err(io::Error::other)?
}

/// How many requests may wait for a resident. A task that has another waits for a place.
const WAITING: usize = 16;

type Request<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Something that lives on a thread of its own, because it waits, or because it must not be moved: an interpreter, a connection of a C library. Tasks use it through
/// this, one after the other; clones are the same resident. It is dropped on its thread when the last clone is gone.
pub struct Resident<S> {
    requests: mpsc::Sender<Request<S>>,
}

impl<S: 'static> Resident<S> {
    /// Makes the resident on its thread.
    pub fn new(make: impl FnOnce() -> S + Send + 'static) -> io::Result<Resident<S>> {
        let (requests, mut waiting) = mpsc::bounded::<Request<S>>(WAITING);
        thread::Builder::new()
            .name("resident".into())
            .spawn(move || {
                let mut resident = make();
                while let Some(request) = waiting.recv_blocking() {
                    request(&mut resident);
                }
            })?;
        Ok(Resident { requests })
    }

    /// Runs `work` with the resident.
    ///
    /// A closure whose caller was cancelled runs all the same, unless it was still waiting for a place; its answer is dropped.
    ///
    /// # Errors
    ///
    /// [`Gone`], if this closure or one before it panicked: the resident may be broken then, and nobody gets it any more.
    pub async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, Gone> {
        let (sender, answer) = oneshot::channel();
        let request: Request<S> = Box::new(move |resident| {
            // The caller may have been cancelled.
            let _ = sender.send(work(resident));
        });
        self.requests.send(request).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

impl<S> Clone for Resident<S> {
    fn clone(&self) -> Resident<S> {
        Resident {
            requests: self.requests.clone(),
        }
    }
}

impl<S> fmt::Debug for Resident<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident").finish_non_exhaustive()
    }
}

/// The thread of a [`Resident`] has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the resident's thread has panicked: make a new one")
    }
}

impl std::error::Error for Gone {}
