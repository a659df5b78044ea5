//! The daemon's end of one worker.
//!
//! Promise: [`Worker::next`] ends in exactly one `Done` or `Failed`, within a bound that doesn't count the time the source
//! needs; dropping the worker kills and reaps it. Both verbs are cancel-safe: all state lives in the struct.
//! Memory:  one frame in each direction. Stderr stays in its pipe until the end; a worker that fills the pipe hangs.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};

use super::failure::{Code, Failure};
use super::guard::{Guard, Said};
use super::limits::{CPU_GRACE_S, PICTURE_S, STDERR_BYTES, WorkerLimits};
use super::wire::{HEADER, Header, Hello, Kind, Start};
use super::{Event, Order, child};

/// Between its last word and its exit: teardown of five threads.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// Of a tick, spent waiting for a processor: then its silence says nothing.
const STARVED_MS: u64 = 500;
/// Read at once from the socket.
const READ_BYTES: usize = 64 * 1024;

/// The worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No process, descriptor or memory: try later.
    #[error("no worker could be started")]
    Io(#[from] std::io::Error),
    /// [`super::Access::Ranges`] without a size.
    #[error("a source read by ranges has a known size")]
    NoSize,
    /// Segments of a length that HLS or the wire can't carry.
    #[error("segments last {} to {} s", super::ladder::SEGMENT_SECONDS.start(), super::ladder::SEGMENT_SECONDS.end())]
    SegmentSeconds,
}

/// The worker has ended: [`Worker::next`] says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker has ended")]
pub struct Gone;

/// One running worker, good for one track.
#[derive(Debug)]
pub struct Worker {
    child: child::Process,
    socket: UnixStream,
    guard: Guard,
    limits: WorkerLimits,
    hello: Option<Hello>,
    inbox: BytesMut,
    outbox: VecDeque<Bytes>,
    events: VecDeque<Event>,
    need: Option<(u64, u32)>,
    /// Bytes given beyond what was asked, and where they start.
    surplus: (u64, Bytes),
    tick: Interval,
    idle_ticks: u32,
    /// At the last tick.
    starved_ms: u64,
    /// Ticks in which nothing was owed to the worker.
    busy_ticks: u64,
    cpu_limit_s: u64,
    /// The ladder's `Done`, while pictures may follow: whatever happens from here on, this is how it ends.
    whole: Option<Event>,
    whole_ticks: u32,
    ending: Option<Ending>,
    ended: Option<Event>,
}

/// How the conversation ended; the child is still to be waited for.
#[derive(Debug)]
struct Ending {
    event: Option<Event>,
    deadline: Instant,
    status: Option<ExitStatus>,
    stderr: BytesMut,
}

impl Worker {
    /// Starts a worker and sends it the order.
    pub async fn spawn(order: Order) -> Result<Self, SpawnError> {
        if order.access == super::Access::Ranges && order.size.is_none() {
            return Err(SpawnError::NoSize);
        }
        if !super::ladder::SEGMENT_SECONDS.contains(&order.segment_seconds) {
            return Err(SpawnError::SegmentSeconds);
        }
        let what = order.clone();
        // Loading a process image blocks; the runtime shouldn't. The handle registers with the runtime in there too.
        let (child, socket) =
            tokio::task::spawn_blocking(move || child::start(&what)).await.map_err(std::io::Error::other)??;
        let start = Start {
            ladder: order.ladder.clone(),
            segment_seconds: order.segment_seconds,
            access: order.access,
            size: order.size,
            limits: order.limits,
            cores: order.cores,
            render: order.render.clone(),
            #[cfg(debug_assertions)]
            fault: order.fault,
        };
        let body = Bytes::from(serde_json::to_vec(&start).map_err(std::io::Error::other)?);
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut worker = Self {
            child,
            socket,
            limits: order.limits,
            cpu_limit_s: order.limits.cpu_base_s,
            guard: Guard::new(order),
            hello: None,
            inbox: BytesMut::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            need: None,
            surplus: (0, Bytes::new()),
            tick,
            idle_ticks: 0,
            starved_ms: 0,
            whole: None,
            whole_ticks: 0,
            busy_ticks: 0,
            ending: None,
            ended: None,
        };
        worker.post(Kind::Start, 0, body);
        Ok(worker)
    }

    /// The worker's report on its sandbox, once it has come.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The worker's process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What happens next. After `Done` or `Failed` it says the same again. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if let Some(event) = &self.ended {
                return event.clone();
            }
            if self.ending.is_some() {
                let event = self.settle().await;
                self.ended = Some(event.clone());
                return event;
            }
            if !self.take_frame() {
                self.turn().await;
            }
        }
    }

    /// Answers a `Need`; no bytes mean the end of the source. May hold more than was asked: the surplus answers the
    /// following needs as far as they go on from here. Cancel-safe: bytes once taken are sent by `next` too.
    pub async fn give(&mut self, offset: u64, bytes: Bytes) -> Result<(), Gone> {
        if self.ending.is_some() || self.ended.is_some() {
            return Err(Gone);
        }
        match self.need.take() {
            Some((wanted, len)) if wanted == offset => self.answer(offset, len, bytes),
            other => self.need = other, // not what was asked: the need stands
        }
        // Never waited for here: a worker that doesn't read would hold the caller. `next` sends what is left.
        self.flush();
        Ok(())
    }

    /// Ends the worker and waits until it is gone.
    pub async fn kill(mut self) {
        // An error means that it is gone already.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    fn answer(&mut self, offset: u64, len: u32, mut bytes: Bytes) {
        let now = bytes.split_to(bytes.len().min(len as usize));
        self.guard.given = self.guard.given.max(offset + now.len() as u64);
        self.surplus = (offset + now.len() as u64, bytes);
        self.idle_ticks = 0;
        self.post(Kind::Data, offset, now);
    }

    fn post(&mut self, kind: Kind, sequence: u64, body: Bytes) {
        let head = Header { kind, rung: 0, length: body.len() as u32, sequence }.write();
        self.outbox.push_back(Bytes::copy_from_slice(&head));
        self.outbox.push_back(body);
        self.outbox.retain(|b| !b.is_empty());
    }

    /// Moves bytes in either direction, or notices that none move.
    async fn turn(&mut self) {
        tokio::select! {
            biased;
            // cancel-safe: readiness only; bytes land in the inbox
            _ = self.socket.readable() => self.fill(),
            // cancel-safe: as above
            _ = self.socket.writable(), if !self.outbox.is_empty() => self.flush(),
            // cancel-safe: an untaken tick comes again
            _ = self.tick.tick() => self.look_at_the_clock(),
        }
    }

    fn fill(&mut self) {
        self.inbox.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.inbox) {
            Ok(0) => self.end(None),
            Ok(_) => self.idle_ticks = 0,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end(None),
        }
    }

    fn flush(&mut self) {
        while let Some(first) = self.outbox.front_mut() {
            match self.socket.try_write(first) {
                Ok(n) => first.advance(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.outbox.clear(), // broken: reading will say so
            }
            if first.is_empty() {
                self.outbox.pop_front();
            }
        }
    }

    /// Takes one whole frame from the inbox, if there is one.
    fn take_frame(&mut self) -> bool {
        let Some(head) = self.inbox.first_chunk::<HEADER>() else { return false };
        let head = match Header::read(head) {
            Ok(head) => head,
            Err(e) => {
                self.breach(&e);
                return true;
            }
        };
        let whole = HEADER + head.length as usize;
        if self.inbox.len() < whole {
            self.inbox.reserve(whole - self.inbox.len());
            return false;
        }
        let mut frame = self.inbox.split_to(whole).freeze();
        frame.advance(HEADER);
        match self.guard.judge(head, frame) {
            Ok(said) => self.hear(said),
            Err(e) => self.breach(&e),
        }
        true
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Hello(hello) if !hello.seccomp => {
                self.fail(Code::WorkerSandbox, "the worker could not filter its system calls".to_owned());
            }
            Said::Hello(hello) => self.hello = Some(hello),
            Said::Need { .. } if self.need.is_some() => self.breach(&"two needs at once"),
            Said::Need { offset, len } if offset == self.surplus.0 && !self.surplus.1.is_empty() => {
                let bytes = std::mem::take(&mut self.surplus.1);
                self.answer(offset, len, bytes);
            }
            Said::Need { offset, len } => {
                self.need = Some((offset, len));
                self.events.push_back(Event::Need { offset, len });
            }
            Said::Events(events) => self.events.extend(events),
            Said::Done(events) => {
                let mut events = events;
                self.whole = events.pop();
                self.events.extend(events);
            }
            Said::Failed(failure) => self.end(Some(Event::Failed(failure))),
        }
        self.cpu_limit_s = self.cpu_limit_s.max(self.limits.cpu_s(self.guard.seconds()));
    }

    /// Called about once a second, and only while `next` is waited for: a caller that is away costs the worker nothing.
    fn look_at_the_clock(&mut self) {
        // A need that is open is the source's time. Bytes on their way out are the worker's.
        let is_waiting_for_source = self.need.is_some();
        // Whoever waits for a processor says nothing either. That much of it in a second is a machine at its limit, not a hang;
        // that it doesn't last for ever is the wall clock's to say, below.
        let starved_ms = child::starved_ms(&self.child);
        let was_starved = starved_ms.saturating_sub(self.starved_ms) > STARVED_MS;
        self.starved_ms = starved_ms;
        self.idle_ticks += u32::from(!was_starved);
        if is_waiting_for_source {
            self.idle_ticks = 0;
        }
        self.busy_ticks += u64::from(!is_waiting_for_source);
        if self.idle_ticks > self.limits.hang_s {
            self.fail(Code::WorkerHung, format!("the worker said nothing for {} s", self.limits.hang_s));
        }
        self.whole_ticks += u32::from(self.whole.is_some());
        if self.whole_ticks > PICTURE_S {
            self.fail(Code::WorkerHung, "the picture took too long".to_owned());
        }
        let wall_s = self.cpu_limit_s * u64::from(self.limits.wall_per_cpu);
        if self.busy_ticks > wall_s {
            self.fail(Code::WorkerHung, format!("the worker hadn't ended after {wall_s} s"));
        }
        if child::cpu_used_s(&self.child).is_some_and(|used| used > self.cpu_limit_s + CPU_GRACE_S) {
            self.fail(Code::WorkerCpu, "the worker ran out of processor time".to_owned());
        }
    }

    fn breach(&mut self, what: &dyn std::fmt::Display) {
        self.fail(Code::WorkerProtocol, format!("the worker broke the protocol: {what}"));
    }

    fn fail(&mut self, code: Code, text: String) {
        // An error means that it is gone already.
        let _ = self.child.start_kill();
        self.end(Some(Event::Failed(Failure::new(code, text))));
    }

    fn end(&mut self, event: Option<Event>) {
        let event = self.whole.take().or(event);
        let deadline = Instant::now() + EXIT_GRACE;
        self.ending.get_or_insert(Ending { event, deadline, status: None, stderr: BytesMut::new() });
    }

    /// Waits for the child, kills it if it lingers, and says how it all ended.
    async fn settle(&mut self) -> Event {
        let Some(ending) = &mut self.ending else { return Event::Failed(child::verdict(None, "")) };
        if ending.status.is_none() {
            // cancel-safe: waiting for a child is
            let status = match timeout_at(ending.deadline, self.child.wait()).await {
                Ok(status) => status.ok(),
                Err(_) => {
                    let _ = self.child.start_kill();
                    self.child.wait().await.ok()
                }
            };
            ending.status = status;
        }
        if let Some(event) = ending.event.take() {
            return event;
        }
        if let Some(stderr) = self.child.stderr() {
            // cancel-safe: what is read is in the buffer. Ends: the only writer is dead.
            while ending.stderr.len() < STDERR_BYTES as usize
                && matches!(stderr.read_buf(&mut ending.stderr).await, Ok(n) if n > 0)
            {}
        }
        Event::Failed(child::verdict(ending.status, &String::from_utf8_lossy(&ending.stderr)))
    }
}
