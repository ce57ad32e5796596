//! Connections: accepting, serving and draining them.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use divisi::hyper::DivisiTimer;
use divisi::net::{TcpListener, TcpStream};
use divisi::sync::Event;
use divisi::time::sleep;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::routes::App;

/// The first pause after a refused accept; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections until `stop` is set, each a task of its own.
///
/// The listener is closed on return; the connections end by themselves after the requests that
/// they have in flight.
pub(crate) async fn accept_loop(listener: TcpListener, app: Arc<App>, stop: Arc<Event>) {
    let mut stopped = pin!(stop.wait());
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = divisi::select! {
            biased;
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                pause = FIRST_PAUSE;
                app.counters().connection();
                let serving = connection(stream, app.clone(), stop.clone());
                drop(
                    divisi::task::Builder::new()
                        .name("connection")
                        .spawn(serving),
                );
            }
            // The client was gone before we came to it.
            Err(error) if is_of_the_client(&error) => {}
            // No descriptor or no memory left. The client stays in the listener's queue, so to try
            // again at once would spin until some other connection ends.
            Err(error) => {
                app.counters().accept_error();
                eprintln!("cannot accept a connection, next try in {pause:?}: {error}");
                divisi::select! {
                    () = &mut stopped => return,
                    () = sleep(pause) => {}
                }
                pause = LAST_PAUSE.min(pause * 2);
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Serves one connection until the client closes it, or until the request in flight is answered
/// once the server is stopped.
async fn connection(stream: TcpStream, app: Arc<App>, stop: Arc<Event>) {
    // Answers are written in one go; without this the last packet of each may wait for the
    // client's delayed acknowledgement, 40 ms. A socket that refuses is slower, no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| async { Ok::<_, Infallible>(app.respond(request).await) });
    // The timer is what cuts off clients that never finish their request's head.
    let mut serving = pin!(
        http1::Builder::new()
            .timer(DivisiTimer::new())
            .serve_connection(stream, service)
    );
    let ended = divisi::select! {
        ended = &mut serving => ended,
        () = stop.wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if ended.is_err() {
        // Broken off by either side, in the middle of something. There is nobody left to tell.
        app.counters().broken_connection();
    }
}
