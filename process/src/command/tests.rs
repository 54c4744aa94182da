use super::*;

fn shell(script: &str, input: &str, limit: Duration) -> Result<String, CommandError> {
    execute(Command::new("sh").args(["-c", script]), input, limit)
}

#[test]
fn output_is_what_was_printed() {
    assert_eq!(shell("cat", "text", LIMIT).expect("cat"), "text");
    assert_eq!(
        shell("echo said; echo no >&2", "", LIMIT).expect("sh"),
        "said\n"
    );
}

#[test]
fn a_program_may_write_before_it_has_read_everything() {
    let input = "a line that is fed and comes back\n".repeat(100_000);
    let twice = shell("tee /dev/stderr", &input, LIMIT).expect("tee");
    assert!(twice == input, "{} bytes of {}", twice.len(), input.len());
    let long = shell("yes | head -c 1000000; cat", &input, LIMIT).expect("yes");
    assert_eq!(long.len(), 1_000_000 + input.len());
}

#[test]
fn a_failure_says_what_was_run_how_it_ended_and_what_it_said() {
    let error = shell("cat >&2; echo out; exit 3", "no such\nthing", LIMIT).expect_err("fails");
    assert_eq!(
        error.to_string(),
        "sh -c \"cat >&2; echo out; exit 3\": exit status: 3; stderr: no such / thing; stdout: out"
    );
    assert_eq!(error.stderr(), "no such\nthing");
}

#[test]
fn a_program_that_reads_nothing_says_why_in_its_status() {
    let error = shell("exit 2", &"x".repeat(1 << 20), LIMIT).expect_err("fails");
    assert!(error.to_string().contains("exit status: 2"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut command = Command::new("weir-no-such-program");
    let error = execute(command.arg("a b"), "", LIMIT).expect_err("is not there");
    assert_eq!(
        error.to_string(),
        "weir-no-such-program \"a b\": not found in PATH"
    );
}

#[test]
fn nothing_waits_beyond_the_limit() {
    let limit = Duration::from_millis(200);
    for script in [
        // It says nothing; it closes its pipes and goes on; what it started holds them open.
        "echo begun; exec sleep 60",
        "exec >&- 2>&-; exec sleep 60",
        "echo begun; sleep 60 & exit 0",
    ] {
        let began = std::time::Instant::now();
        let ended = shell(script, "", limit);
        assert!(
            began.elapsed() < LIMIT / 2,
            "{script}: {:?}",
            began.elapsed()
        );
        match ended {
            Err(CommandError::TimedOut { stdout, .. }) => {
                assert_eq!(
                    stdout,
                    if script.contains("begun") {
                        "begun\n"
                    } else {
                        ""
                    }
                );
            }
            // It did end; what it left behind is not waited for.
            Ok(stdout) => assert_eq!((script.ends_with("exit 0"), &*stdout), (true, "begun\n")),
            Err(error) => panic!("{script}: {error}"),
        }
    }
}

#[test]
fn failure_is_an_answer_where_the_caller_says_so() {
    let answer = output(
        Command::new("sh").args(["-c", "echo no; exit 4"]),
        "",
        LIMIT,
    );
    let answer = answer.expect("it ran");
    assert_eq!((answer.status.code(), &*answer.stdout), (Some(4), "no\n"));
}
