//! `WEB_CONCURRENCY`: how many workers an instance should start.
//!
//! gunicorn, puma and many others read it. The number follows from what the instance may use,
//! not from what the machine has: eight cores and a limit of 256M make one worker. A config var
//! of that name wins.

use dozen_model::manifest::CpuLimit;

/// The number where an instance has no limits.
const WITHOUT_LIMITS: u32 = 2;

/// Memory that a worker of a middle-sized app takes; Heroku counts the same.
const MEMORY_OF_ONE: u64 = 256 << 20;

/// More workers than this belong into more instances.
const MOST: u32 = 32;

/// The number of workers for an instance with these limits: two for each cpu and one for each
/// 256M, whichever is less, and at least one.
pub(super) fn web_concurrency(memory: Option<u64>, cpu: Option<CpuLimit>) -> u32 {
    let by_memory = memory.map(|bytes| bytes / MEMORY_OF_ONE);
    let by_cpu = cpu.map(|cpu| (u64::from(cpu.thousandths()) * 2).div_ceil(1000));
    let workers = match (by_memory, by_cpu) {
        (Some(memory), Some(cpu)) => memory.min(cpu),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return WITHOUT_LIMITS,
    };
    u32::try_from(workers).unwrap_or(MOST).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_limit_decides() {
        let mib = |n: u64| Some(n << 20);
        let cases = [
            (None, None, 2),
            (mib(512), None, 2),
            (mib(1024), None, 4),
            (mib(100), None, 1),
            (None, Some(250), 1),
            (None, Some(1000), 2),
            (None, Some(1500), 3),
            (mib(4096), Some(1000), 2),
            (mib(512), Some(8000), 2),
            (Some(u64::MAX), None, 32),
        ];
        for (memory, cpu, workers) in cases {
            assert_eq!(web_concurrency(memory, cpu.map(CpuLimit)), workers, "{memory:?} {cpu:?}");
        }
    }
}
