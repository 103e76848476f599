//! What a connector may use up, and what is said when it reaches an end.
//!
//! Each limit has a default and a flag of `host run`. Reaching one ends that read, never the host.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of one guest instance.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables of one instance.
    pub table_elements: usize,
    /// Core instances in one component.
    pub instances: usize,
    /// Core memories in one component.
    pub memories: usize,
    /// Tables in one component.
    pub tables: usize,
    /// Stack of guest code, in bytes.
    pub stack_bytes: usize,
    /// Computing time between two calls of the host.
    pub cpu: Duration,
    /// Time of one read, from start to end, waits included.
    pub read_time: Duration,
    /// Requests that a connector has started and not yet waited for.
    pub pending_requests: usize,
    /// Responses that a connector holds at once, and requests that it has started, in bytes.
    pub held_bytes: u64,
    /// One page that a connector made itself, and the arguments of any other call, in bytes.
    pub page_bytes: usize,
    /// One record, in bytes of JSON.
    pub record_bytes: usize,
    /// Nesting of JSON values.
    pub json_depth: usize,
    /// Text that one read may write to the log, in bytes.
    pub log_bytes: u64,
    /// Keys and values that a connection may store, in bytes.
    pub storage_bytes: u64,
    /// Records of one reading of a stream that may turn out not to be storable before the reading stops.
    pub dead_letters: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Python's interpreter starts with about 20 MiB; 256 MiB leaves room for a page and its parsed form.
            memory_bytes: 256 << 20,
            // Function tables of language runtimes stay under 20,000 entries; an entry costs the host 8 bytes.
            table_elements: 100_000,
            // componentize-py makes about 30 core instances, for CPython's modules and their adapters.
            instances: 200,
            memories: 20,
            tables: 100,
            // wasmtime's own default; CPython and QuickJS are built to live with less.
            stack_bytes: 512 << 10,
            cpu: Duration::from_secs(10),
            // A read may wait for an hourly budget many times over.
            read_time: Duration::from_secs(24 * 3600),
            pending_requests: 32,
            // Four responses of the greatest size.
            held_bytes: 256 << 20,
            page_bytes: 64 << 20,
            record_bytes: 16 << 20,
            // Real APIs stay below 20; each level costs the decoder a column builder and some stack.
            json_depth: 64,
            log_bytes: 4 << 20,
            storage_bytes: 1 << 20,
            // More than anybody looks at one by one; an API that changed its form would else fill the disk with letters.
            dead_letters: 1_000,
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::memory_bytes`].
    Memory,
    /// [`Limits::table_elements`].
    TableElements,
    /// [`Limits::instances`].
    Instances,
    /// [`Limits::memories`].
    Memories,
    /// [`Limits::tables`].
    Tables,
    /// [`Limits::stack_bytes`].
    Stack,
    /// [`Limits::cpu`].
    Cpu,
    /// [`Limits::cpu`], for starting up and for `describe`, where there is nothing to wait for.
    Start,
    /// [`Limits::read_time`].
    ReadTime,
    /// [`Limits::pending_requests`].
    PendingRequests,
    /// [`Limits::held_bytes`].
    HeldBytes,
    /// [`Limits::page_bytes`].
    PageBytes,
    /// [`Limits::log_bytes`].
    Log,
}

impl Limit {
    /// Returns what is limited, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::TableElements => "table elements",
            Self::Instances => "core instances",
            Self::Memories => "core memories",
            Self::Tables => "tables",
            Self::Stack => "stack",
            Self::Cpu => "computing time between two host calls",
            Self::Start => "time to start and describe itself",
            Self::ReadTime => "time for one call",
            Self::PendingRequests => "requests under way",
            Self::HeldBytes => "requests and responses held",
            Self::PageBytes => "data handed over at once",
            Self::Log => "log volume",
        }
    }

    /// Returns the flag of `host run` that raises it.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Memory => "--max-memory",
            Self::TableElements => "--max-table-elements",
            Self::Instances => "--max-instances",
            Self::Memories => "--max-memories",
            Self::Tables => "--max-tables",
            Self::Stack => "--max-stack",
            Self::Cpu | Self::Start => "--max-cpu",
            Self::ReadTime => "--max-read-time",
            Self::PendingRequests => "--max-pending",
            Self::HeldBytes => "--max-held",
            Self::PageBytes => "--max-page",
            Self::Log => "--max-log",
        }
    }
}

/// The error of a read that reached a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connector reached its limit of {}: {allowed}; if you trust it with more, raise {}", limit.name(), limit.flag())]
pub struct LimitReached {
    /// Which limit.
    pub limit: Limit,
    /// What is allowed, with its unit.
    pub allowed: String,
}

impl LimitReached {
    /// Makes the error of a limit of `bytes`.
    pub fn bytes(limit: Limit, bytes: u64) -> Self {
        Self { limit, allowed: human_bytes(bytes) }
    }

    /// Makes the error of a limit of `count` things.
    pub fn count(limit: Limit, count: usize) -> Self {
        Self { limit, allowed: count.to_string() }
    }

    /// Makes the error of a limit in time.
    pub fn time(limit: Limit, time: Duration) -> Self {
        Self { limit, allowed: format!("{time:?}") }
    }
}

/// Writes a number of bytes in the greatest binary unit that divides it.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in UNITS {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} bytes")
}

/// Counts the memory and tables of one store. Growth past a limit ends the guest at once: an allocator that is told
/// "no" would only turn it into an error without the limit's name.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_bytes: usize,
    table_elements: usize,
    limits: Limits,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory_bytes: 0, table_elements: 0, limits: limits.clone() }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes {
            return Err(LimitReached::bytes(Limit::Memory, self.limits.memory_bytes as u64).into());
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > self.limits.table_elements {
            return Err(LimitReached::count(Limit::TableElements, self.limits.table_elements).into());
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_itself_and_its_flag() {
        assert_eq!(
            LimitReached::bytes(Limit::Memory, 256 << 20).to_string(),
            "the connector reached its limit of memory: 256 MiB; if you trust it with more, raise --max-memory"
        );
        assert_eq!(
            LimitReached::time(Limit::Cpu, Duration::from_secs(10)).to_string(),
            "the connector reached its limit of computing time between two host calls: 10s; if you trust it with more, \
             raise --max-cpu"
        );
    }

    #[test]
    fn memory_is_counted_over_all_memories_of_an_instance() {
        let mut meter = Meter::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        let error = meter.memory_growing(40, 41, None).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitReached>().unwrap().limit, Limit::Memory);
    }

    #[test]
    fn bytes_are_written_in_the_unit_that_divides_them() {
        assert_eq!(human_bytes(64 << 20), "64 MiB");
        assert_eq!(human_bytes(1000), "1000 bytes");
        assert_eq!(human_bytes(1 << 30), "1 GiB");
    }
}
