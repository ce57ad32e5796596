//! The feature `tracing`: each task has a span, and reports are events.
//!
//! The subscriber is the process's, for workers are threads of divisi's; so each test looks for spans and events that only it makes.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::pending;
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use divisi::{LocalRuntime, Runtime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// At events with this text the subscriber panics.
const POISON: &str = "poison for the subscriber";

/// A span or an event.
#[derive(Clone, Debug)]
struct Seen {
    metadata: &'static Metadata<'static>,
    fields: HashMap<String, String>,
    /// The spans around it, by number, the innermost first.
    inside: Vec<usize>,
    /// The spans that it follows from.
    follows: Vec<usize>,
    entered: usize,
    left: usize,
    closed: bool,
}

impl Seen {
    fn new(metadata: &'static Metadata<'static>, inside: Vec<usize>) -> Seen {
        Seen {
            metadata,
            fields: HashMap::new(),
            inside,
            follows: Vec::new(),
            entered: 0,
            left: 0,
            closed: false,
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields
            .insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[derive(Default)]
struct Keeper {
    spans: Mutex<Vec<Seen>>,
    events: Mutex<Vec<Seen>>,
}

/// The number of a span in the keeper's list.
struct Number(usize);

impl Keeper {
    /// The span of the task with this name, and its number.
    fn span_of(&self, task_name: &str) -> (usize, Seen) {
        let spans = self.spans.lock().unwrap();
        let named = |span: &Seen| span.field("task_name") == Some(task_name);
        let number = spans.iter().position(named).expect("the task has a span");
        (number, spans[number].clone())
    }

    /// The one event whose message has this text.
    fn event(&self, text: &str) -> Seen {
        let events = self.events.lock().unwrap();
        let found: Vec<_> = events
            .iter()
            .filter(|event| event.field("message").is_some_and(|m| m.contains(text)))
            .collect();
        assert_eq!(found.len(), 1, "{text}: {events:?}");
        found[0].clone()
    }
}

struct Forward(&'static Keeper);

impl Forward {
    fn change<S>(&self, id: &Id, context: &Context<'_, S>, change: impl FnOnce(&mut Seen))
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let number = number(&context.span(id).unwrap());
        change(&mut self.0.spans.lock().unwrap()[number]);
    }
}

fn number<'a, S: LookupSpan<'a>>(span: &tracing_subscriber::registry::SpanRef<'a, S>) -> usize {
    span.extensions().get::<Number>().unwrap().0
}

impl<S> Layer<S> for Forward
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let inside = span.scope().skip(1).map(|outer| number(&outer)).collect();
        let mut seen = Seen::new(attributes.metadata(), inside);
        attributes.record(&mut seen);
        let mut spans = self.0.spans.lock().unwrap();
        span.extensions_mut().insert(Number(spans.len()));
        spans.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.change(id, &context, |seen| values.record(seen));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let followed = number(&context.span(follows).unwrap());
        self.change(id, &context, |seen| seen.follows.push(followed));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let scope = context.event_scope(event).into_iter().flatten();
        let mut seen = Seen::new(event.metadata(), scope.map(|span| number(&span)).collect());
        event.record(&mut seen);
        let is_poison = seen.field("message").is_some_and(|m| m.contains(POISON));
        self.0.events.lock().unwrap().push(seen);
        assert!(!is_poison, "the subscriber does not like this one");
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.change(id, &context, |seen| seen.entered += 1);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.change(id, &context, |seen| seen.left += 1);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.change(&id, &context, |seen| seen.closed = true);
    }
}

/// What the subscriber of this process has seen.
fn keeper() -> &'static Keeper {
    static KEEPER: LazyLock<&'static Keeper> = LazyLock::new(|| {
        let keeper: &'static Keeper = Box::leak(Box::default());
        let subscriber = tracing_subscriber::registry().with(Forward(keeper));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        keeper
    });
    *KEEPER
}

/// A runtime, and what reaches its exception handler.
fn reporting(debug: bool) -> (Runtime, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let runtime = Runtime::builder()
        .debug(debug)
        // A slow machine is no failure of this test.
        .stall_threshold(None)
        .exception_handler(move |report| {
            // A test that has seen enough has dropped the receiver.
            let _ = tell.lock().unwrap().send(report.message.clone());
        })
        .build()
        .unwrap();
    (runtime, told)
}

/// Tells the subscriber when it is dropped.
struct TellsDrop(&'static str);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        info!("{} is dropped", self.0);
    }
}

fn named(name: &str) -> divisi::task::Builder {
    divisi::task::Builder::new().name(name)
}

#[test]
fn what_a_task_logs_is_inside_its_span() {
    let keeper = keeper();
    divisi::run(async {
        let line = line!() + 1;
        let task = named("logs").spawn(async {
            info!("before the wait of the task that logs");
            divisi::yield_now().await;
            info!("after the wait of the task that logs");
        });
        let id = task.id().to_string();
        task.await.unwrap();

        let (number, span) = keeper.span_of("logs");
        for text in ["before the wait of", "after the wait of"] {
            let event = keeper.event(&format!("{text} the task that logs"));
            assert_eq!(event.inside, [number]);
        }
        assert_eq!(span.metadata.name(), "task");
        assert_eq!(span.metadata.target(), "divisi");
        assert_eq!(span.field("task"), Some(id.as_str()));
        let place = format!("{}:{line}:", file!());
        assert!(span.field("spawned_at").unwrap().starts_with(&place));
        assert_eq!(span.field("spawned_by"), None);
    });
}

#[test]
fn a_span_is_left_between_polls_and_closed_with_its_task() {
    let keeper = keeper();
    // One thread, so that nothing else happens between the looks.
    let runtime = LocalRuntime::new().unwrap();
    runtime.block_on(async {
        let (go, gone) = divisi::channel::oneshot();
        let task = divisi::spawn_local(async move {
            info!("the local task begins");
            gone.await.unwrap();
        });
        while keeper
            .events
            .lock()
            .unwrap()
            .iter()
            .all(|event| event.field("message") != Some("the local task begins"))
        {
            divisi::yield_now().await;
        }
        let number = keeper.event("the local task begins").inside[0];
        info!("while the local task waits");
        assert!(keeper.event("while the local task waits").inside.is_empty());
        assert!(!keeper.spans.lock().unwrap()[number].closed);
        go.send(()).unwrap();
        task.await.unwrap();
        let span = keeper.spans.lock().unwrap()[number].clone();
        // Two polls, and the drop of the future.
        assert_eq!((span.entered, span.left, span.closed), (3, 3, true));
    });
}

#[test]
fn a_cancelled_task_drops_its_future_inside_its_span() {
    let keeper = keeper();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let guard = TellsDrop("the guard of the cancelled task");
        let task = named("cancelled").spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        task.cancel("enough");
        assert!(task.await.unwrap_err().is_cancelled());
    });
    drop(runtime);
    let (number, span) = keeper.span_of("cancelled");
    let event = keeper.event("the guard of the cancelled task is dropped");
    assert_eq!(event.inside, [number]);
    assert!(span.closed);
    assert_eq!(span.entered, span.left);
}

#[test]
fn a_span_follows_from_where_its_task_was_spawned_and_does_not_keep_it() {
    let keeper = keeper();
    divisi::run(async {
        let parent = named("parent").spawn(async {
            let request = info_span!("request", task_name = "the request");
            let child = request.in_scope(|| named("child").spawn(pending::<()>()));
            child.abort_handle()
        });
        let parent_id = parent.id().to_string();
        let child = parent.await.unwrap();
        let (request_number, request) = keeper.span_of("the request");
        let (_, span) = keeper.span_of("child");
        assert_eq!(span.follows, [request_number]);
        assert!(span.inside.is_empty());
        assert_eq!(span.field("spawned_by"), Some(parent_id.as_str()));
        assert!(request.closed && keeper.span_of("parent").1.closed && !span.closed);
        child.cancel("seen enough");
    });
}

#[test]
fn a_panic_that_nobody_joins_is_an_error_event_and_is_told_to_the_handler() {
    let keeper = keeper();
    let (runtime, told) = reporting(false);
    let id = runtime.block_on(async {
        let task = named("panics").spawn(async { panic!("nobody looks at this") });
        let task: divisi::JoinHandle<()> = task;
        task.id().to_string()
    });
    assert!(
        told.recv_timeout(LONG)
            .unwrap()
            .contains("nobody looks at this")
    );
    let event = keeper.event("nobody looks at this");
    assert_eq!(*event.metadata.level(), Level::ERROR);
    assert_eq!(event.metadata.target(), "divisi");
    assert_eq!(event.field("task"), Some(id.as_str()));
    assert_eq!(event.field("task_name"), Some("panics"));
    assert!(event.field("spawned_at").unwrap().starts_with(file!()));
    let (_, span) = keeper.span_of("panics");
    assert_eq!(span.entered, span.left);
}

#[test]
fn an_error_that_nobody_awaits_is_in_a_field() {
    let keeper = keeper();
    let (runtime, told) = reporting(false);
    runtime.block_on(async {
        drop(divisi::spawn_reporting(async {
            Err("the disk is full of the test")
        }));
    });
    told.recv_timeout(LONG).unwrap();
    let event = keeper.event("a task ended with an error and nobody awaits it");
    assert_eq!(event.field("error"), Some("the disk is full of the test"));
    assert_eq!(*event.metadata.level(), Level::ERROR);
}

#[test]
fn what_debug_mode_finds_is_a_warning() {
    let keeper = keeper();
    let (runtime, told) = reporting(true);
    let socket = runtime.block_on(async {
        let socket = divisi::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 1];
        let waits = async { drop(socket.recv_from(&mut buffer).await) };
        divisi::future::or(waits, divisi::yield_now()).await;
        socket
    });
    runtime.shutdown(divisi::Shutdown::now());
    drop(socket);
    let message = told.recv_timeout(LONG).unwrap();
    assert!(message.contains("were left open"), "{message}");
    let event = keeper.event("were left open");
    assert_eq!(*event.metadata.level(), Level::WARN);
}

#[test]
fn a_subscriber_that_panics_keeps_no_report_from_the_handler() {
    let _keeper = keeper();
    let (runtime, told) = reporting(false);
    drop(runtime.spawn(async { panic!("{POISON}") }));
    assert!(told.recv_timeout(LONG).unwrap().contains(POISON));
    assert_eq!(runtime.block_on(runtime.spawn(async { 1 })).unwrap(), 1);
}
