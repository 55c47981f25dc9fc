//! The program: an echo server as Go's runtime would write it, with edge-triggered epoll, and a
//! second thread that sleeps and wakes it through an eventfd.

use abi::number as nr;
use hal::sim::Script;

const EAGAIN: i64 = -11;
const BUFFER_BYTES: u64 = 4096;
/// EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, as Go asks for.
const EDGES: u32 = 0x8000_2005;
const SOCK_FLAGS: u64 = 0o2_004_000;

async fn call<const N: usize>(script: &Script, number: u32, arguments: [u64; N]) -> i64 {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    script.syscall(u64::from(number), all).await
}

/// The same, for calls that must not fail.
pub(crate) async fn sure<const N: usize>(script: &Script, number: u32, arguments: [u64; N]) -> u64 {
    let result = call(script, number, arguments).await;
    assert!(result >= 0, "{}: {result}", abi::number::name(u64::from(number)).unwrap_or("?"));
    result.cast_unsigned()
}

async fn watch(script: &Script, epoll: u64, fd: u64, events: u32, at: u64) {
    let mut event = events.to_le_bytes().to_vec();
    event.extend(fd.to_le_bytes());
    script.store(at, &event).await;
    sure(script, nr::EPOLL_CTL, [epoll, 1, fd, at]).await;
}

/// The monotonic clock, in nanoseconds.
async fn nanoseconds(script: &Script, memory: u64) -> u64 {
    sure(script, nr::CLOCK_GETTIME, [1, memory]).await;
    let words = script.load(memory, 16).await;
    let number = |word: &[u8; 8]| u64::from_le_bytes(*word);
    let [seconds, rest] = words.as_chunks::<8>().0 else { return 0 };
    number(seconds) * 1_000_000_000 + number(rest)
}

/// Sleeps and wakes the server a few times. A sleep takes as much longer as the timer slack says.
async fn ticker(script: Script, eventfd: u64, memory: u64) {
    const SET_TIMERSLACK: u64 = 29;
    const PAUSE: u64 = 3_000_000;
    for turn in 0..5 {
        let slack = 1 + turn * 500_000;
        sure(&script, nr::PRCTL, [SET_TIMERSLACK, slack]).await;
        let mut pause = 0_u64.to_le_bytes().to_vec();
        pause.extend(PAUSE.to_le_bytes());
        script.store(memory, &pause).await;
        let start = nanoseconds(&script, memory + 64).await;
        sure(&script, nr::NANOSLEEP, [memory, 0]).await;
        let took = nanoseconds(&script, memory + 64).await - start;
        assert!(took >= PAUSE + slack, "{took} ns with {slack} ns of slack");
        script.store(memory, &1_u64.to_le_bytes()).await;
        sure(&script, nr::WRITE, [eventfd, memory, 8]).await;
    }
}

/// Serves `connections` connections, then ends the process with code 0.
pub(crate) async fn serve(script: Script, connections: u64) {
    let memory = sure(&script, nr::MMAP, [0, 1 << 16, 3, 0x22, u64::MAX, 0]).await;
    let (buffer, scratch, own) = (memory, memory + BUFFER_BYTES, memory + 2 * BUFFER_BYTES);

    // SCHED_IDLE and back, for which a right is looked at.
    for policy in [5, 0] {
        sure(&script, nr::SCHED_SETSCHEDULER, [0, policy, scratch]).await;
    }
    let listener = sure(&script, nr::SOCKET, [2, 1 | SOCK_FLAGS, 0]).await;
    let mut address = vec![2, 0];
    address.extend(crate::PORT.to_be_bytes());
    address.extend([0; 12]);
    script.store(scratch, &address).await;
    sure(&script, nr::BIND, [listener, scratch, 16]).await;
    sure(&script, nr::LISTEN, [listener, 16]).await;
    let epoll = sure(&script, nr::EPOLL_CREATE1, [0o2_000_000]).await;
    let eventfd = sure(&script, nr::EVENTFD2, [0, 0o2_004_000]).await;
    watch(&script, epoll, listener, EDGES, scratch).await;
    watch(&script, epoll, eventfd, 1, scratch).await;
    script.next_thread(move |script| ticker(script, eventfd, own));
    // CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM.
    sure(&script, nr::CLONE, [0x5_0f00, own + BUFFER_BYTES]).await;

    let mut served = 0;
    // Bytes read and not yet written, by connection: (descriptor, bytes, the peer has finished).
    let mut open: Vec<(u64, Vec<u8>, bool)> = Vec::new();
    while served < connections {
        let count = sure(&script, nr::EPOLL_PWAIT, [epoll, scratch, 8, u64::MAX, 0, 8]).await;
        let events = script.load(scratch, count as usize * 12).await;
        for event in events.as_chunks::<12>().0 {
            let fd = u64::from(u32::from_le_bytes([event[4], event[5], event[6], event[7]]));
            if fd == eventfd {
                sure(&script, nr::READ, [eventfd, buffer, 8]).await;
            } else if fd == listener {
                accept_all(&script, listener, epoll, scratch, &mut open).await;
            }
        }
        let mut index = 0;
        while index < open.len() {
            if echo(&script, buffer, &mut open[index]).await {
                sure(&script, nr::CLOSE, [open[index].0]).await;
                open.remove(index);
                served += 1;
            } else {
                index += 1;
            }
        }
    }
    // The last bytes are still on their way: the kernel keeps sending after close, but not after
    // the end of the machine.
    let mut pause = 600_u64.to_le_bytes().to_vec();
    pause.extend(0_u64.to_le_bytes());
    script.store(scratch, &pause).await;
    sure(&script, nr::NANOSLEEP, [scratch, 0]).await;
    call(&script, nr::EXIT_GROUP, [0]).await;
}

async fn accept_all(
    script: &Script,
    listener: u64,
    epoll: u64,
    scratch: u64,
    open: &mut Vec<(u64, Vec<u8>, bool)>,
) {
    loop {
        match call(script, nr::ACCEPT4, [listener, 0, 0, SOCK_FLAGS]).await {
            EAGAIN => return,
            fd => {
                assert!(fd >= 0, "accept4: {fd}");
                watch(script, epoll, fd.cast_unsigned(), EDGES, scratch + 1024).await;
                open.push((fd.cast_unsigned(), Vec::new(), false));
            }
        }
    }
}

/// Moves bytes until the connection blocks. True when it is done: all came, all went.
async fn echo(script: &Script, buffer: u64, connection: &mut (u64, Vec<u8>, bool)) -> bool {
    let (fd, pending, finished) = connection;
    loop {
        if !pending.is_empty() {
            script.store(buffer, pending).await;
            match call(script, nr::WRITE, [*fd, buffer, pending.len() as u64]).await {
                EAGAIN => return false,
                count => {
                    assert!(count > 0, "write: {count}");
                    pending.drain(..count as usize);
                }
            }
            continue;
        }
        if *finished {
            return true;
        }
        match call(script, nr::READ, [*fd, buffer, BUFFER_BYTES]).await {
            EAGAIN => return false,
            count => {
                assert!(count >= 0, "read: {count}");
                *finished = count == 0;
                *pending = script.load(buffer, count as usize).await;
            }
        }
    }
}
