//! Open files on their way between Unix sockets, and what becomes of those that nobody can receive
//! any more.
//!
//! A socket that lies in its own queue, or two in each other's, hold themselves: no count of
//! references ever frees them. As Linux does (net/unix/garbage.c), a search finds them: a socket
//! all of whose references lie in queues is reachable only by receiving on another one, and if
//! that does not begin at a socket that the program holds, all of them are garbage.
//!
//! The search locks one socket at a time. It sees a picture of one moment all the same: whoever
//! puts a socket into a queue or takes one out counts that first, under the queue's lock, and the
//! search is done again when the count changed. What it found to be unreachable stays so.

use super::{Queue, UnixSocket};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use base::sync::SpinLock;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// An open file, opaque here.
type AnyFile = dyn Any + Send + Sync;

/// Something sent along with bytes: an open file.
#[derive(Clone)]
pub struct Right {
    file: Arc<AnyFile>,
    /// The Unix socket that it is.
    socket: Option<Weak<UnixSocket>>,
}

impl Right {
    /// An open file; `socket`: the Unix socket that it is, which lives as long as the file.
    #[must_use]
    pub fn new(file: Arc<AnyFile>, socket: Option<&Arc<UnixSocket>>) -> Self {
        Self { file, socket: socket.map(Arc::downgrade) }
    }

    /// The open file.
    #[must_use]
    pub fn into_file(self) -> Arc<AnyFile> {
        self.file
    }
}

/// Where a socket is: what names it in a search.
type Place = usize;

fn place(socket: &Weak<UnixSocket>) -> Place {
    socket.as_ptr().addr()
}

/// Searches that are begun anew when sockets move meanwhile; then the next occasion has to do.
const ATTEMPTS: usize = 4;
/// So many sockets are searched on every occasion. Of more, only on as many occasions: what a
/// search costs is spread over what calls for it.
const FEW_CARRIERS: usize = 16;

/// What is known of open files in flight.
#[derive(Default)]
pub(crate) struct Flight {
    /// Sockets in whose queues there are, or were, Unix sockets.
    carriers: SpinLock<BTreeMap<Place, Weak<UnixSocket>>>,
    has_carriers: AtomicBool,
    /// Counts Unix sockets put into queues and taken out.
    moves: AtomicU64,
    /// Occasions since the last search.
    occasions: AtomicUsize,
    is_searching: AtomicBool,
    /// Open files that end.
    buried: SpinLock<Vec<Right>>,
    /// Somebody ends them.
    is_digging: AtomicBool,
}

impl Flight {
    /// `rights` are about to be put into the queue of `carrier`, whose lock is held.
    pub(super) fn enters(&self, carrier: &Arc<UnixSocket>, rights: &[Right]) {
        if self.moves(rights) {
            let carrier = Arc::downgrade(carrier);
            let mut carriers = self.carriers.lock();
            carriers.insert(place(&carrier), carrier);
            self.has_carriers.store(true, Ordering::Relaxed);
        }
    }

    /// The socket at this place carries nothing any more.
    fn forget(&self, at: Place) {
        let mut carriers = self.carriers.lock();
        carriers.remove(&at);
        self.has_carriers.store(!carriers.is_empty(), Ordering::Relaxed);
    }

    /// `rights` are about to be taken out of a queue, or copied, whose lock is held.
    pub(super) fn leaves(&self, rights: &[Right]) {
        self.moves(rights);
    }

    fn moves(&self, rights: &[Right]) -> bool {
        let concerned = rights.iter().any(|right| right.socket.is_some());
        if concerned {
            self.moves.fetch_add(1, Ordering::SeqCst);
        }
        concerned
    }

    /// A socket ended or was sent: others may have become unreachable. Frees these. Not under a
    /// lock: open files end here.
    pub(super) fn collect(&self) {
        if !self.has_carriers.load(Ordering::Relaxed) {
            return;
        }
        let occasions = self.occasions.fetch_add(1, Ordering::Relaxed) + 1;
        let carriers = self.carriers.lock().len();
        let is_early = carriers > FEW_CARRIERS && occasions < carriers;
        if is_early || self.is_searching.swap(true, Ordering::Acquire) {
            return;
        }
        self.occasions.store(0, Ordering::Relaxed);
        let garbage = (0..ATTEMPTS).find_map(|_| self.unreachable()).unwrap_or_default();
        self.is_searching.store(false, Ordering::Release);
        for socket in garbage.iter().filter_map(Weak::upgrade) {
            let queue = core::mem::take(&mut socket.state.lock().queue);
            self.bury(queue);
        }
    }

    /// The sockets that nobody can receive on any more. `None`: sockets moved meanwhile.
    fn unreachable(&self) -> Option<Vec<Weak<UnixSocket>>> {
        let before = self.moves.load(Ordering::SeqCst);
        let carriers: Vec<_> = self.carriers.lock().values().cloned().collect();
        let mut graph = Graph::default();
        for carrier in carriers {
            graph.find(&carrier);
            self.search(place(&carrier), &carrier, &mut graph);
        }
        // What is in flight may be a listener that carries nothing itself.
        while let Some((at, socket)) = graph.next_unsearched() {
            self.search(at, &socket, &mut graph);
        }
        let garbage = graph.garbage();
        (self.moves.load(Ordering::SeqCst) == before).then_some(garbage)
    }

    /// Notes what lies in a socket's queue. One that carries nothing any more is forgotten.
    fn search(&self, at: Place, socket: &Weak<UnixSocket>, graph: &mut Graph) {
        let Some(socket) = socket.upgrade() else {
            self.forget(at);
            return graph.searched(at, Vec::new());
        };
        let found = {
            let state = socket.state.lock();
            let rights = state.queue.messages.iter().flat_map(|message| &message.rights);
            let sockets = rights.filter_map(|right| {
                let held = Held::ByFile(Arc::downgrade(&right.file));
                Some((right.socket.clone()?, held))
            });
            let mut found: Vec<_> = sockets.collect();
            if found.is_empty() {
                // Under the queue's lock, so that nothing is put there in between.
                self.forget(at);
            }
            let waiting = state.listener.iter().flat_map(super::socket::Listener::waiting);
            found.extend(waiting.map(|socket| (Arc::downgrade(socket), Held::ByListener)));
            found
        };
        graph.searched(at, found);
    }

    /// Ends the open files of a queue. Not under a lock.
    ///
    /// One that ends may be a socket with a queue of its own, and so on: they end one after the
    /// other, not one within the other, however long the chain is.
    pub(super) fn bury(&self, queue: Queue) {
        let rights: Vec<_> = queue.messages.into_iter().flat_map(|each| each.rights).collect();
        if rights.is_empty() {
            return;
        }
        self.buried.lock().extend(rights);
        // Else this is called from the loop below, perhaps on another CPU, which goes on.
        while !self.is_digging.swap(true, Ordering::AcqRel) {
            loop {
                let next = self.buried.lock().pop();
                let Some(right) = next else { break };
                drop(right);
            }
            self.is_digging.store(false, Ordering::Release);
            // Something may have come in between.
            if self.buried.lock().is_empty() {
                return;
            }
        }
    }
}

/// What holds a socket that lies somewhere.
enum Held {
    /// An open file, in a queue.
    ByFile(Weak<AnyFile>),
    /// A listener, which nobody has accepted it from.
    ByListener,
}

/// A socket in a search.
struct Node {
    socket: Weak<UnixSocket>,
    /// The open file that it is, if one was found in a queue.
    file: Option<Weak<AnyFile>>,
    /// References to it in queues.
    references: usize,
    /// It waits to be accepted.
    waits: bool,
    is_searched: bool,
    /// The sockets in its queue, and those that wait to be accepted from it.
    holds: Vec<Place>,
}

impl Node {
    /// True when more than queues hold it.
    fn is_root(&self) -> bool {
        match &self.file {
            Some(file) => file.strong_count() > self.references,
            None => !self.waits,
        }
    }
}

/// Which socket lies where.
#[derive(Default)]
struct Graph {
    nodes: BTreeMap<Place, Node>,
    unsearched: Vec<Place>,
}

impl Graph {
    fn find(&mut self, socket: &Weak<UnixSocket>) -> &mut Node {
        let at = place(socket);
        self.nodes.entry(at).or_insert_with(|| {
            self.unsearched.push(at);
            Node {
                socket: socket.clone(),
                file: None,
                references: 0,
                waits: false,
                is_searched: false,
                holds: Vec::new(),
            }
        })
    }

    fn next_unsearched(&mut self) -> Option<(Place, Weak<UnixSocket>)> {
        while let Some(at) = self.unsearched.pop() {
            if let Some(node) = self.nodes.get(&at).filter(|node| !node.is_searched) {
                return Some((at, node.socket.clone()));
            }
        }
        None
    }

    fn searched(&mut self, at: Place, found: Vec<(Weak<UnixSocket>, Held)>) {
        let mut holds = Vec::with_capacity(found.len());
        for (socket, held) in found {
            let node = self.find(&socket);
            match held {
                Held::ByFile(file) => {
                    node.references += 1;
                    node.file = Some(file);
                }
                Held::ByListener => node.waits = true,
            }
            holds.push(place(&socket));
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.is_searched = true;
            node.holds = holds;
        }
    }

    /// The sockets that are not reached from one that more than queues hold.
    fn garbage(mut self) -> Vec<Weak<UnixSocket>> {
        let roots = self.nodes.iter().filter(|(_, node)| node.is_root());
        let mut reached: Vec<Place> = roots.map(|(at, _)| *at).collect();
        while let Some(at) = reached.pop() {
            if let Some(node) = self.nodes.remove(&at) {
                reached.extend(node.holds);
            }
        }
        self.nodes.into_values().map(|node| node.socket).collect()
    }
}
