//! Processor time as Linux tells it, in nanoseconds: user and system time together, waiting left out. And memory.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

/// What `/proc/PID/stat` counts in.
const TICK: u64 = 10_000_000;

/// Of the calling thread. It stops for the shortest moment first: only when a thread leaves its processor does the system add up what it has used, and there is
/// nothing else to await for that.
pub(super) fn thread() -> anyhow::Result<u64> {
    std::thread::sleep(Duration::from_nanos(1));
    scheduled("thread-self")
}

/// Of a process that has one thread and isn't running just now, such as one of PostgreSQL's that has answered.
pub(super) fn single(pid: i32) -> anyhow::Result<u64> {
    scheduled(&pid.to_string())
}

/// Of a process with all its threads, those that have ended too; in steps of 10 ms.
pub(super) fn process(pid: u32) -> anyhow::Result<u64> {
    ticks(&read(&pid.to_string(), "stat")?)
        .and_then(|ticks| ticks.checked_mul(TICK))
        .context("a process's times")
}

/// A process's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    pub resident: u64,
    pub peak: u64,
}

/// The memory of a process: what is resident now, and the most that ever was.
pub(super) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = read(&pid.to_string(), "status")?;
    let bytes = |name| kibibytes(&status, name).map(|kib| kib * 1024).context("a process's memory");
    Ok(Memory {
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    })
}

/// A line of a `status` file.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The name of this machine's processors.
pub(super) fn model() -> String {
    let all = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    line.map_or("unknown processor", |(_, name)| name.trim()).to_owned()
}

/// The processors that this process may use.
pub(super) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1))
}

fn read(whose: &str, what: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{whose}/{what}");
    std::fs::read_to_string(&path).with_context(|| format!("processor times are read from {path}, which Linux has"))
}

fn scheduled(whose: &str) -> anyhow::Result<u64> {
    let text = read(whose, "schedstat")?;
    text.split_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok())
        .context("schedstat")
}

/// User and system time of a `stat` line.
fn ticks(stat: &str) -> Option<u64> {
    // The name stands in parentheses and may hold blanks; utime and stime are the 12th and 13th fields after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_has_just_used_counts() {
        let before = thread().expect("Linux");
        assert_eq!(partner_sdk::jws::sha256_hex(&vec![0; 1 << 20]).len(), 64);
        let used = thread().expect("Linux") - before;
        assert!(used > 100_000, "{used}");
        // Nothing is awaited: the wait itself is what must not count.
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread().expect("Linux") - before < 20_000_000, "waiting counts");
    }

    #[test]
    fn memory_is_read_where_linux_tells_it() {
        let status = "Name:\tclearing\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!([kibibytes(status, "VmRSS:"), kibibytes(status, "VmSwap:")], [Some(1024), None]);
        let memory = memory(std::process::id()).expect("Linux");
        assert!(memory.resident > 100_000 && memory.peak >= memory.resident, "{memory:?}");
    }

    #[test]
    fn a_process_s_time_is_its_own_and_the_system_s_for_it() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 17 900 900 20 0 3 0 1 1 1";
        assert_eq!(ticks(stat), Some(267));
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
