//! Netlink sockets (netlink(7)): a request is answered before the call that sends it returns.

mod generic;
mod message;
mod route;

use crate::filter::Filter;
use crate::stack::Stack;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use base::io::{Sink, Source, take_all};
use base::sync::{Rank, SpinLock};
use message::{Answered, Reply, Request, kind};
use sched::{Notifier, PollEvents};

/// Longest request taken.
const REQUEST_BYTES: usize = 4_096;
/// Datagrams that wait.
const QUEUE_MAX: usize = 256;

/// What a netlink socket is about (`NETLINK_ROUTE`, `NETLINK_GENERIC`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetlinkFamily {
    /// Interfaces, addresses and routes.
    Route,
    /// Families that are looked up by name.
    Generic,
}

/// Port numbers in use.
#[derive(Default)]
pub(crate) struct NetlinkPorts {
    used: SpinLock<Vec<(NetlinkFamily, u32)>>,
}

#[derive(Default)]
struct State {
    port: u32,
    groups: u32,
    queue: VecDeque<Vec<u8>>,
    /// `SO_ATTACH_FILTER`.
    filter: Option<Box<Filter>>,
    /// `NETLINK_CAP_ACK`: answers do not repeat requests.
    capped: bool,
    /// `SO_RCVBUF` and `SO_SNDBUF` in bytes, once set.
    buffers: [Option<usize>; 2],
}

/// A netlink socket.
pub struct NetlinkSocket {
    stack: Arc<Stack>,
    family: NetlinkFamily,
    process: u32,
    raw: bool,
    state: SpinLock<State>,
    notifier: Notifier,
}

impl NetlinkSocket {
    /// An unbound socket of process `process`. `raw`: it was asked for as `SOCK_RAW`, which makes no difference.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, family: NetlinkFamily, process: u32, raw: bool) -> Arc<Self> {
        Arc::new(Self {
            stack: Arc::clone(stack),
            family,
            process,
            raw,
            state: SpinLock::ranked(Rank::Netlink, State::default()),
            notifier: Notifier::new(),
        })
    }

    /// It was asked for as `SOCK_RAW`, not as `SOCK_DGRAM`.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// What it is about.
    #[must_use]
    pub fn family(&self) -> NetlinkFamily {
        self.family
    }

    /// `SO_ATTACH_FILTER`, `SO_DETACH_FILTER`: the filter that was attached.
    pub fn set_filter(&self, filter: Option<Box<Filter>>) -> Option<Box<Filter>> {
        core::mem::replace(&mut self.state.lock().filter, filter)
    }

    /// `NETLINK_CAP_ACK`.
    pub fn set_capped(&self, capped: bool) {
        self.state.lock().capped = capped;
    }

    /// Joins or leaves groups, each a bit; nothing is announced in them.
    pub fn join(&self, groups: u32, on: bool) {
        let mut state = self.state.lock();
        state.groups = if on { state.groups | groups } else { state.groups & !groups };
    }

    /// `SO_SNDBUF` or `SO_RCVBUF`.
    pub fn set_buffer(&self, send: bool, bytes: usize) {
        let [receive_buffer, send_buffer] = &mut self.state.lock().buffers;
        *(if send { send_buffer } else { receive_buffer }) = Some(bytes);
    }

    /// The same, once set.
    #[must_use]
    pub fn buffer(&self, send: bool) -> Option<usize> {
        let [receive_buffer, send_buffer] = self.state.lock().buffers;
        if send { send_buffer } else { receive_buffer }
    }

    /// Who tells when there is something to receive.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// bind(2). Port 0: the process's number, or another if that is taken. Groups are accepted;
    /// nothing is ever announced in them but what [`Stack::configuration`] tells the kernel.
    ///
    /// # Errors
    /// `EADDRINUSE`. `EINVAL`: bound to another port.
    pub fn bind(&self, port: u32, groups: u32) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.port != 0 {
            state.groups = groups;
            return if port == 0 || port == state.port { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let mut used = self.stack.netlink.used.lock();
        let chosen = if port != 0 {
            port
        } else if !used.contains(&(self.family, self.process)) {
            self.process
        } else {
            // Linux takes negative numbers for the second socket of a process and on.
            (0..=u32::MAX >> 1)
                .map(|step| 0u32.wrapping_sub(4097).wrapping_sub(step))
                .find(|port| !used.contains(&(self.family, *port)))
                .ok_or(Errno::EADDRINUSE)?
        };
        if used.contains(&(self.family, chosen)) {
            return Err(Errno::EADDRINUSE);
        }
        used.push((self.family, chosen));
        state.port = chosen;
        state.groups = groups;
        Ok(())
    }

    /// getsockname(2): port and groups.
    #[must_use]
    pub fn local(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.port, state.groups)
    }

    /// Sends a request; the answer waits at once.
    ///
    /// # Errors
    /// `EMSGSIZE`: too long. `EFAULT`. `ENOBUFS`: too many answers wait.
    pub fn send(&self, source: &mut dyn Source) -> Result<usize, Errno> {
        self.bind(0, 0)
            .or_else(|errno| if errno == Errno::EINVAL { Ok(()) } else { Err(errno) })?;
        let length = source.remaining();
        if length > REQUEST_BYTES {
            return Err(Errno::EMSGSIZE);
        }
        let bytes = take_all(source, 0)?;
        let mut rest = bytes.as_slice();
        while let Some(request) = Request::parse(rest) {
            let (port, capped) = {
                let state = self.state.lock();
                (state.port, state.capped)
            };
            self.queue(self.answer(&request, port, capped))?;
            rest = rest.get(request.length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.notifier.notify(PollEvents::READABLE);
        Ok(length)
    }

    /// Receives a datagram: (stored, its length).
    ///
    /// # Errors
    /// `EAGAIN`: none. `EFAULT`.
    pub fn receive(&self, sink: &mut dyn Sink, peek: bool) -> Result<(usize, usize), Errno> {
        let next = {
            let mut state = self.state.lock();
            if peek { state.queue.front().cloned() } else { state.queue.pop_front() }
        };
        let datagram = next.ok_or(Errno::EAGAIN)?;
        let stored = if sink.room() == 0 { 0 } else { sink.put(&datagram)? };
        Ok((stored, datagram.len()))
    }

    /// What the socket is ready for.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        let waits = !self.state.lock().queue.is_empty();
        let readable = if waits { PollEvents::READABLE } else { PollEvents::empty() };
        readable | PollEvents::WRITABLE
    }

    /// The last descriptor was closed.
    pub fn close(&self) {
        let port = core::mem::take(&mut self.state.lock().port);
        self.stack.netlink.used.lock().retain(|used| *used != (self.family, port));
    }

    fn queue(&self, answers: Vec<Vec<u8>>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let State { queue, filter, .. } = &mut *state;
        if queue.len() + answers.len() > QUEUE_MAX {
            return Err(Errno::ENOBUFS);
        }
        for mut answer in answers {
            let kept = filter.as_ref().map_or(answer.len(), |filter| filter.run(&[], &answer));
            answer.truncate(kept);
            if kept > 0 {
                queue.push_back(answer);
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request<'_>, port: u32, capped: bool) -> Vec<Vec<u8>> {
        let mut reply = Reply::new(request, port);
        let is_request = request.flags & kind::FLAG_REQUEST != 0 && request.kind >= kind::MIN;
        let answered = match self.family {
            _ if !is_request => Ok(Answered::Request),
            NetlinkFamily::Route => route::answer(&self.stack, request, &mut reply),
            NetlinkFamily::Generic => generic::answer(request, &mut reply),
        };
        match answered {
            Ok(Answered::Dump) => reply.done(),
            Ok(Answered::Request) if request.flags & kind::FLAG_ACK == 0 => {}
            Ok(Answered::Request) => reply.error(None, request, capped),
            Err(errno) => reply.error(Some(errno), request, capped),
        }
        reply.finish()
    }
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        self.close();
    }
}
