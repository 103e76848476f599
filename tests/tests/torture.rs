//! Kills at random moments over all paginations, with partitions and without, in both formats. `make test` makes 60,
//! `make torture` 500; `TORTURE_SEED` makes the same choice of moments again.

use anyhow::Context;
use tests::torture::ways;

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} is no number: {text}")))
}

#[test]
fn every_record_arrives_once_whenever_the_process_is_killed() -> anyhow::Result<()> {
    let kills = number("TORTURE_KILLS", 60)?;
    let seed = number("TORTURE_SEED", fastrand::u64(..))?;
    let ways = ways();
    let each = u32::try_from(kills.div_ceil(ways.len() as u64))?;
    // Two at once, so that a machine of two cores is as busy as in a real incident, and the test half as long.
    let halves = ways.split_at(ways.len() / 2);
    std::thread::scope(|scope| {
        let torture = |ways: &'static [tests::torture::Way], seed| {
            move || -> anyhow::Result<()> {
                for (place, way) in (0..).zip(ways) {
                    let mut random = fastrand::Rng::with_seed(seed + place);
                    way.survive(each, &mut random).with_context(|| format!("{way:?}, TORTURE_SEED={seed}"))?;
                }
                Ok(())
            }
        };
        let first: &'static [_] = halves.0.to_vec().leak();
        let second: &'static [_] = halves.1.to_vec().leak();
        let other = scope.spawn(torture(second, seed));
        torture(first, seed)()?;
        other.join().map_err(|_| anyhow::anyhow!("a thread of the test died"))?
    })
}
