//! The load generator: a process of its own with one thread on epoll, which no runtime under test takes part in.
//!
//! *Closed loop*: each connection sends when it has been answered; this finds out how much a server can do. *Open loop*: requests are due at
//! a fixed rate whether or not earlier ones have been answered, and the time counts from when they were due. So a server that stands still
//! for a second is charged for every request of that second (no coordinated omission). What was never answered counts with the
//! time that it has waited at the end.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
        poll,
    },
    fd::OwnedFd,
};
use serde::{Deserialize, Serialize};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// How long the last answers are waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// The histograms' precision, 0.1 %, and the longest time that they tell apart: what takes longer counts as this.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(100);

/// What a client asks for; short, as browsers' requests are not but benchmarks' are.
const HTTP_REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// What is sent, and what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// That many bytes, which come back.
    Echo(usize),
    /// A GET request; all answers have the length of the first.
    Http,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// One after the other on each connection.
    Closed,
    /// That many a second, spread over the connections in turn.
    Open(f64),
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Connections that are used.
    pub connections: usize,
    /// Connections that are opened and never used.
    pub idle: usize,
    /// Use only connections that one and the same thread of the server answers; it tags its answers.
    pub one_worker: bool,
    /// What is sent.
    pub message: Message,
    /// When it is sent.
    pub pace: Pace,
    /// Before this has passed, nothing is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub duration: Duration,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests answered within the counted time.
    pub answered: u64,
    /// Requests that were due in the counted time.
    pub due: u64,
    /// Requests that had no answer a second after the end.
    pub unanswered: u64,
    /// How long was counted.
    pub seconds: f64,
    /// Percentiles of the response time in nanoseconds: 50, 90, 99, 99.9, 100.
    pub percentiles: [u64; 5],
    /// Connections that were used; fewer than asked for when one worker alone had to answer.
    pub connections: usize,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of requests that have to be sent, and how many were ever sent.
    to_send: usize,
    sent: usize,
    /// Bytes of the answer that is under way.
    received: usize,
    /// When the requests that wait for an answer were due.
    due: VecDeque<Instant>,
}

struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    answer: usize,
    buffer: Vec<u8>,
}

/// Runs the plan.
///
/// # Errors
///
/// When the server refuses connections or closes them.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut client = Client::new(plan)?;
    let _idle = client.open(plan, plan.idle)?;
    client.choose(plan)?;
    let begin = Instant::now();
    let counted_from = begin + plan.warm_up;
    let end = counted_from + plan.duration;
    let mut histogram = histogram();
    let mut answered = 0;
    let mut due = 0;
    let mut next = 0_u64;
    let in_time = |moment: Instant| moment >= counted_from && moment < end;

    if plan.pace == Pace::Closed {
        for index in 0..client.connections.len() {
            client.send(index, begin)?;
        }
    }
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        let now = Instant::now();
        let mut wake = end;
        if let Pace::Open(rate) = plan.pace {
            // After the end too: a thread that comes back late still owes what was due before.
            loop {
                let moment = begin + Duration::from_secs_f64(next as f64 / rate);
                if moment > now || moment >= end {
                    wake = moment.min(end);
                    break;
                }
                due += u64::from(in_time(moment));
                let index = (next % client.connections.len() as u64) as usize;
                client.send(index, moment)?;
                next += 1;
            }
        }
        if now >= end {
            wake = end + DRAIN;
            if now >= wake
                || client
                    .connections
                    .iter()
                    .all(|connection| connection.due.is_empty())
            {
                break;
            }
        }
        client.wait(wake, &mut events)?;
        let now = Instant::now();
        for event in &events {
            let index = event.data.u64() as usize;
            client.flush(index)?;
            client.receive(index, |moment| {
                if in_time(moment) {
                    histogram.saturating_record(nanoseconds(now, moment));
                }
                answered += u64::from(in_time(now));
            })?;
            if plan.pace == Pace::Closed && now < end && client.connections[index].due.is_empty() {
                due += u64::from(in_time(now));
                client.send(index, now)?;
            }
        }
    }

    let now = Instant::now();
    let mut unanswered = 0;
    for moment in client
        .connections
        .iter()
        .flat_map(|connection| &connection.due)
    {
        if in_time(*moment) {
            unanswered += 1;
            histogram.saturating_record(nanoseconds(now, *moment));
        }
    }
    Ok(Outcome {
        answered,
        due,
        unanswered,
        seconds: plan.duration.as_secs_f64(),
        percentiles: [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| histogram.value_at_quantile(share)),
        connections: client.connections.len(),
    })
}

/// An empty histogram of nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS).expect("the bounds are valid")
}

fn nanoseconds(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
}

impl Client {
    fn new(plan: &Plan) -> io::Result<Self> {
        let request = match plan.message {
            Message::Echo(length) => vec![b'x'; length],
            Message::Http => HTTP_REQUEST.to_vec(),
        };
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            request,
            answer: 0,
            // Larger than any socket's buffer would only cost cache.
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Opens connections, no quicker than the server accepts them: a full backlog costs a second before the next try.
    fn open(&mut self, plan: &Plan, count: usize) -> io::Result<Vec<TcpStream>> {
        /// Less than any backlog.
        const AT_ONCE: usize = 64;
        let mut streams = Vec::with_capacity(count);
        for index in 0..count {
            let mut stream = TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            if index % AT_ONCE == AT_ONCE - 1 {
                self.first(&mut stream, plan.message)?;
            }
            streams.push(stream);
        }
        Ok(streams)
    }

    /// Opens the connections that are used, and takes those of the busiest worker where one must answer all.
    fn choose(&mut self, plan: &Plan) -> io::Result<()> {
        /// So many times as many give enough to choose from.
        const CHOICE: usize = 4;
        let opened = plan.connections * if plan.one_worker { CHOICE } else { 1 };
        let streams = self.open(plan, opened)?;
        let mut chosen = match plan.one_worker {
            true => self.of_one_worker(streams, plan.message)?,
            false => streams,
        };
        // The length of an answer; nothing more is waited for here, for a server may take seconds for each.
        if let Some(stream) = chosen.first_mut() {
            self.first(stream, plan.message)?;
        }
        chosen.truncate(plan.connections);
        for (index, stream) in chosen.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &stream,
                EventData::new_u64(index as u64),
                interest,
            )?;
            self.connections.push(Connection {
                stream,
                to_send: 0,
                sent: 0,
                received: 0,
                due: VecDeque::new(),
            });
        }
        Ok(())
    }

    /// The connections that one and the same thread answers: those of the thread that answers most.
    fn of_one_worker(
        &mut self,
        streams: Vec<TcpStream>,
        message: Message,
    ) -> io::Result<Vec<TcpStream>> {
        let mut by_tag: HashMap<u8, Vec<TcpStream>> = HashMap::new();
        for mut stream in streams {
            let tag = self.first(&mut stream, message)?;
            by_tag.entry(tag).or_default().push(stream);
        }
        Ok(by_tag
            .into_values()
            .max_by_key(Vec::len)
            .unwrap_or_default())
    }

    /// One request and its answer, waited for: the connection is then known to be served, and the answer's length. Returns its first byte.
    fn first(&mut self, stream: &mut TcpStream, message: Message) -> io::Result<u8> {
        stream.write_all(&self.request)?;
        match message {
            Message::Echo(length) => {
                self.answer = length;
                let mut answer = vec![0; length];
                stream.read_exact(&mut answer)?;
                Ok(answer[0])
            }
            Message::Http => {
                let mut answer = Vec::new();
                while !is_complete(&answer) {
                    let read = stream.read(&mut self.buffer)?;
                    if read == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    answer.extend_from_slice(&self.buffer[..read]);
                }
                if !answer.starts_with(b"HTTP/1.1 200") {
                    return Err(io::Error::other("the server did not answer 200"));
                }
                self.answer = answer.len();
                Ok(0)
            }
        }
    }

    /// Sends a request that is due at that moment, as far as the socket takes it.
    fn send(&mut self, index: usize, due: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.due.push_back(due);
        connection.to_send += self.request.len();
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        while connection.to_send > 0 {
            let from = connection.sent % self.request.len();
            let until = self.request.len().min(from + connection.to_send);
            match connection.stream.write(&self.request[from..until]) {
                Ok(written) => {
                    connection.sent += written;
                    connection.to_send -= written;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all that is there and tells of every request that it completes.
    fn receive(&mut self, index: usize, mut answered: impl FnMut(Instant)) -> io::Result<()> {
        let connection = &mut self.connections[index];
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    connection.received += read;
                    while connection.received >= self.answer {
                        connection.received -= self.answer;
                        let due = connection.due.pop_front();
                        answered(due.ok_or_else(|| io::Error::other("an answer too many"))?);
                    }
                    // A short read has emptied the socket; the next bytes make an edge.
                    if read < self.buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for events, or until that moment. `epoll_wait` knows milliseconds only, so the waiting is done by `ppoll` on its descriptor.
    fn wait(&self, until: Instant, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            poll(
                &mut [PollFd::new(&self.epoll, PollFlags::IN)],
                Some(&timeout),
            )?;
        }
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        epoll::wait(&self.epoll, spare_capacity(events), Some(&now))?;
        Ok(())
    }
}

/// Whether an answer's head and body are there.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// An echo server on threads that stands still once, after that many bytes.
    fn server(pause_after: usize, pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    let mut total = 0;
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        if (total..total + read).contains(&pause_after) {
                            thread::sleep(pause);
                        }
                        total += read;
                        if stream.write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn plan(address: SocketAddr, pace: Pace) -> Plan {
        Plan {
            address,
            connections: 2,
            idle: 1,
            one_worker: false,
            message: Message::Echo(64),
            pace,
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(400),
        }
    }

    #[test]
    fn a_pause_of_the_server_is_charged_to_every_request_due_meanwhile() {
        let pause = Duration::from_millis(200);
        let outcome = run(&plan(server(64 * 50, pause), Pace::Open(1_000.0))).unwrap();
        assert_eq!(
            (outcome.due, outcome.unanswered, outcome.connections),
            (400, 0, 2)
        );
        let [_, p90, .., max] = outcome.percentiles;
        // Each connection stands still for half of its time; one request of a closed loop would have seen it.
        assert!(p90 >= 50_000_000, "{outcome:?}");
        assert!(max >= 190_000_000, "{outcome:?}");
    }

    #[test]
    fn what_is_never_answered_counts_with_its_waiting_time() {
        let outcome = run(&plan(
            server(64 * 50, Duration::from_secs(3)),
            Pace::Open(1_000.0),
        ))
        .unwrap();
        assert!(outcome.unanswered > 100, "{outcome:?}");
        assert!(outcome.percentiles[4] >= 1_000_000_000, "{outcome:?}");
    }

    #[test]
    fn a_closed_loop_counts_every_answer() {
        let plan = Plan {
            duration: Duration::from_secs(2),
            ..plan(server(usize::MAX, Duration::ZERO), Pace::Closed)
        };
        let outcome = run(&plan).unwrap();
        assert!(outcome.answered > 0);
        assert!(outcome.answered.abs_diff(outcome.due) <= 2, "{outcome:?}");
    }

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        assert!(!is_complete(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nO"
        ));
        assert!(is_complete(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
        ));
    }
}
