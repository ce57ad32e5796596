//! What the kernel alone asks of an echo server: epoll by hand, without tasks, wakers or timers, each thread with its own share of the
//! connections.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
    thread::{CpuSet, sched_setaffinity},
};

use super::{Options, Stats, answer, tag, work};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// One thread's epoll and connections. They are never closed: the program lives for one measurement.
struct Share {
    epoll: OwnedFd,
    streams: Mutex<Vec<Arc<TcpStream>>>,
}

pub(super) fn serve(threads: usize, options: &Options) -> io::Result<()> {
    if options.http {
        return Err(io::Error::other("the raw server knows no HTTP"));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut shares = Vec::new();
    for index in 0..threads {
        let share = Arc::new(Share {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            streams: Mutex::new(Vec::new()),
        });
        shares.push(share.clone());
        let options = options.clone();
        thread::spawn(move || {
            if threads > 1 {
                let mut core = CpuSet::new();
                core.set(index % num_cpus::get());
                // Where pinning is not allowed, the kernel's own placement has to do.
                let _ = sched_setaffinity(None, &core);
            }
            share.run(&options).expect("epoll works");
        });
    }
    thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            if let Err(error) = stream.and_then(|stream| shares[index % shares.len()].add(stream)) {
                eprintln!("accept: {error}");
            }
        }
    });
    answer(port, Stats::default)?;
    std::process::exit(0)
}

/// A connection as its thread sees it: what could not be written yet.
struct Connection {
    stream: Arc<TcpStream>,
    unwritten: Vec<u8>,
}

impl Share {
    fn add(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let stream = Arc::new(stream);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let token = EventData::new_u64(streams.len() as u64);
        streams.push(stream.clone());
        drop(streams);
        epoll::add(
            &self.epoll,
            &stream,
            token,
            EventFlags::IN | EventFlags::OUT | EventFlags::ET,
        )?;
        Ok(())
    }

    fn run(&self, options: &Options) -> io::Result<()> {
        let mut connections: Vec<Connection> = Vec::new();
        let mut buffer = vec![0; options.buffer];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                let index = event.data.u64() as usize;
                if index >= connections.len() {
                    let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
                    let new = streams[connections.len()..]
                        .iter()
                        .map(|stream| Connection {
                            stream: stream.clone(),
                            unwritten: Vec::new(),
                        });
                    connections.extend(new);
                }
                let connection = &mut connections[index];
                if connection.echo(&mut buffer, options).is_err() {
                    // The client has gone.
                    let _ = connection.stream.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

impl Connection {
    fn echo(&mut self, buffer: &mut [u8], options: &Options) -> io::Result<()> {
        loop {
            if !self.unwritten.is_empty() {
                let written = write(&self.stream, &self.unwritten)?;
                self.unwritten.drain(..written);
                if !self.unwritten.is_empty() {
                    return Ok(());
                }
            }
            let read = match (&*self.stream).read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            work(options.steps_a_request);
            if options.tag {
                buffer[0] = tag();
            }
            let written = write(&self.stream, &buffer[..read])?;
            self.unwritten.extend_from_slice(&buffer[written..read]);
            // A short read has emptied the socket; the next bytes make an edge.
            if read < buffer.len() && self.unwritten.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Writes as much as the socket takes.
fn write(mut stream: &TcpStream, data: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < data.len() {
        match stream.write(&data[written..]) {
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
