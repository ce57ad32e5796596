//! A line of requests in front of a service.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use divisi_sync::mpsc::{self, UnboundedSender};
use divisi_sync::oneshot;
use divisi_sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::BoxError;

/// Puts a bounded line of requests in front of a service, which a task of its own serves. So the service can be cloned, whether or not the one inside can; all clones
/// share it, first come first served.
///
/// A request whose response nobody awaits any more is left out when its turn comes. When the service fails to become ready, it is gone: every request, and
/// `poll_ready`, gets a [`ServiceGone`] with its error. The task ends when the last clone is dropped and the line is empty.
///
/// # Panics
///
/// `layer` panics outside of a divisi runtime.
///
/// # Examples
///
/// ```
/// use divisi::tower::BufferLayer;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// divisi::run(async {
///     let mut served = 0;
///     // It counts, so it cannot be cloned.
///     let counts = service_fn(move |by: u32| {
///         served += by;
///         std::future::ready(Ok::<_, std::io::Error>(served))
///     });
///     let buffered = BufferLayer::new(8).layer(counts);
///     assert_eq!(buffered.clone().oneshot(1).await.unwrap(), 1);
///     assert_eq!(buffered.clone().oneshot(2).await.unwrap(), 3);
/// });
/// ```
pub struct BufferLayer<R> {
    bound: usize,
    requests: PhantomData<fn(R)>,
}

impl<R> BufferLayer<R> {
    /// At most so many requests are in the line. More wait until the service is ready for them.
    ///
    /// # Panics
    ///
    /// If the bound is zero.
    #[track_caller]
    #[must_use]
    pub fn new(bound: usize) -> BufferLayer<R> {
        assert!(bound > 0, "a line for no requests would let none through");
        BufferLayer {
            bound,
            requests: PhantomData,
        }
    }
}

impl<S, R> Layer<S> for BufferLayer<R>
where
    S: Service<R> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send + Sync,
    R: Send + 'static,
{
    type Service = Buffer<R, S::Future>;

    #[track_caller]
    fn layer(&self, service: S) -> Buffer<R, S::Future> {
        let (line, requests) = mpsc::unbounded();
        let room = Arc::new(Semaphore::new(self.bound));
        let gone = Arc::default();
        drop(crate::spawn(serve(
            service,
            requests,
            room.clone(),
            Arc::clone(&gone),
        )));
        Buffer {
            line,
            room,
            gone,
            turn: Turn::None,
        }
    }
}

struct Request<R, F> {
    request: R,
    respond: oneshot::Sender<F>,
    _place: OwnedSemaphorePermit,
}

/// What became of the service, for all who come too late.
type Gone = Arc<OnceLock<ServiceGone>>;

async fn serve<S, R>(
    mut service: S,
    mut requests: mpsc::Receiver<Request<R, S::Future>>,
    room: Arc<Semaphore>,
    gone: Gone,
) where
    S: Service<R>,
    S::Error: Into<BoxError>,
{
    /// However this ends, nobody waits for it any more.
    struct Close(Arc<Semaphore>);
    impl Drop for Close {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _close = Close(room);
    while let Some(next) = requests.recv().await {
        if next.respond.is_closed() {
            continue;
        }
        if let Err(error) = std::future::poll_fn(|cx| service.poll_ready(cx)).await {
            let _ = gone.set(ServiceGone(Some(Arc::from(error.into()))));
            return;
        }
        // It may have taken long to become ready.
        if next.respond.is_closed() {
            continue;
        }
        // If nobody awaits it, the response is dropped, as it would be without this.
        let _ = next.respond.send(service.call(next.request));
    }
}

/// The service inside a [`Buffer`] is no more: it failed to become ready, or panicked, or its runtime was shut down.
#[derive(Clone, Debug)]
pub struct ServiceGone(Option<Arc<dyn std::error::Error + Send + Sync>>);

impl fmt::Display for ServiceGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(_) => f.write_str("the buffered service failed, and takes no more requests"),
            None => f.write_str(
                "the task of the buffered service ended: it panicked, or its runtime was shut down",
            ),
        }
    }
}

impl std::error::Error for ServiceGone {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error = self.0.as_deref()?;
        Some(error)
    }
}

/// The service of a [`BufferLayer`].
pub struct Buffer<R, F> {
    line: UnboundedSender<Request<R, F>>,
    room: Arc<Semaphore>,
    gone: Gone,
    turn: Turn,
}

type WaitForPlace =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

enum Turn {
    None,
    Waits(WaitForPlace),
    Has(OwnedSemaphorePermit),
}

impl<R, F> Clone for Buffer<R, F> {
    fn clone(&self) -> Self {
        // Its turn is its own.
        Self {
            line: self.line.clone(),
            room: self.room.clone(),
            gone: self.gone.clone(),
            turn: Turn::None,
        }
    }
}

fn error(gone: &Gone) -> BoxError {
    gone.get().cloned().unwrap_or(ServiceGone(None)).into()
}

impl<R, F, T, E> Service<R> for Buffer<R, F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Response = T;
    type Error = BoxError;
    type Future = BufferedResponse<F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.turn {
                Turn::None => {
                    self.turn = Turn::Waits(Box::pin(self.room.clone().acquire_owned(1)));
                }
                Turn::Waits(wait) => match ready!(wait.as_mut().poll(cx)) {
                    Ok(place) => self.turn = Turn::Has(place),
                    Err(_) => {
                        self.turn = Turn::None;
                        return Poll::Ready(Err(error(&self.gone)));
                    }
                },
                Turn::Has(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn call(&mut self, request: R) -> BufferedResponse<F> {
        let Turn::Has(place) = std::mem::replace(&mut self.turn, Turn::None) else {
            panic!("a buffered service was called before `poll_ready` said that it is ready");
        };
        let (respond, response) = oneshot::channel();
        // If it is gone, the receiver will say so.
        let _ = self.line.send(Request {
            request,
            respond,
            _place: place,
        });
        BufferedResponse {
            state: State::InLine { response },
            gone: self.gone.clone(),
        }
    }
}

pin_project! {
    /// The response of a [`Buffer`].
    pub struct BufferedResponse<F> {
        #[pin]
        state: State<F>,
        gone: Gone,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<F> {
        InLine { response: oneshot::Receiver<F> },
        Called { #[pin] response: F },
    }
}

impl<F, T, E> Future for BufferedResponse<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, BoxError>> {
        let mut this = self.project();
        loop {
            let called = match this.state.as_mut().project() {
                StateProject::InLine { response } => ready!(Pin::new(response).poll(cx)),
                StateProject::Called { response } => return response.poll(cx).map_err(Into::into),
            };
            match called {
                Ok(response) => this.state.set(State::Called { response }),
                Err(_) => return Poll::Ready(Err(error(this.gone))),
            }
        }
    }
}

impl<R> Clone for BufferLayer<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for BufferLayer<R> {}

impl<R> fmt::Debug for BufferLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferLayer")
            .field("bound", &self.bound)
            .finish()
    }
}

impl<R, F> fmt::Debug for Buffer<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("in_line", &self.line.len())
            .field("room", &self.room.available())
            .field("gone", &self.gone.get())
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for BufferedResponse<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called = matches!(self.state, State::Called { .. });
        f.debug_struct("BufferedResponse")
            .field("called", &called)
            .finish_non_exhaustive()
    }
}
