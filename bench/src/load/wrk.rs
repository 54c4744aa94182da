//! HTTP/1.1 by wrk.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use weir_process::command::{LIMIT, execute};

use super::{Latency, Work};
use crate::scenario::Keep;

pub(super) fn run(connections: u32, url: &str, keep: Keep, duration: Duration) -> Result<Work> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--latency", "--timeout", "10s"]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{}s", duration.as_secs())]);
    if keep == Keep::Close {
        command.args(["--header", "Connection: close"]);
    }
    parse(&execute(command.arg(url), "", duration + LIMIT)?)
}

/// Reads what wrk prints.
fn parse(text: &str) -> Result<Work> {
    let line = |start: &str| {
        let mut lines = text.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(start))
            .map(str::trim)
    };
    for bad in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(count) = line(bad) {
            bail!("wrk: {bad} {count}");
        }
    }
    let total = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "));
    let (requests, rest) = total.with_context(|| format!("wrk printed no total:\n{text}"))?;
    let elapsed = rest.split(',').next().and_then(duration);
    let percentile = |name| line(name).and_then(duration);
    Ok(Work {
        units: requests.parse().context("wrk: requests")?,
        elapsed: elapsed.context("wrk: time")?,
        latency: percentile("50%")
            .zip(percentile("99%"))
            .map(|(p50, p99)| Latency { p50, p99 }),
    })
}

/// `12.34us`, `1.20ms`, `3.01s`, `1.00m`
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(
        number.parse::<f64>().ok()? * seconds,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 3s test @ http://10.77.0.2:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.94ms  633.68us  15.78ms   89.43%
    Req/Sec    21.85k     1.45k   23.89k    73.33%
  Latency Distribution
     50%    2.83ms
     75%    3.09ms
     90%    3.42ms
     99%    5.32ms
  65265 requests in 3.00s, 11.89MB read
Requests/sec:  21729.70
Transfer/sec:      3.96MB
";

    #[test]
    fn the_total_and_the_percentiles_are_read() {
        let work = parse(OUTPUT).expect("work");
        assert!((work.units - 65265.0).abs() < 0.1);
        assert_eq!(work.elapsed, Duration::from_secs(3));
        let latency = work.latency.expect("latency");
        assert_eq!(latency.p50, Duration::from_micros(2830));
        assert_eq!(latency.p99, Duration::from_micros(5320));
    }

    #[test]
    fn errors_are_no_work() {
        for line in [
            "  Non-2xx or 3xx responses: 12",
            "  Socket errors: connect 0, read 3, write 0, timeout 0",
        ] {
            let error = parse(&format!("{OUTPUT}{line}\n")).expect_err(line);
            assert!(error.to_string().contains(line.trim()), "{error}");
        }
    }
}
