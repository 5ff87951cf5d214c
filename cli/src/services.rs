//! `peerup services`, `peerup expose` and `peerup forward`.

use std::fmt::Write;

use peerup_agent::local::Client;
use peerup_agent::{ServiceList, Status};

use crate::args::{ExposeArgs, ForwardArgs};
use crate::failure::Failure;
use crate::home::Home;
use crate::out;

/// Lists what is exposed and forwarded.
pub(crate) async fn list(home: &Home, json: bool) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    let list = client.services().await?;
    if json {
        return out::json(&list);
    }
    out::text(&table(&list, &client.status().await?))
}

fn table(list: &ServiceList, status: &Status) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for exposed in &list.exposed {
        let (service, count) = (exposed.service.to_string(), exposed.connections);
        let _ = writeln!(text, "expose   {service:30} {}", connections(count));
    }
    for forwarded in &list.forwards {
        let (forward, count) = (forwarded.forward.to_string(), forwarded.connections);
        let _ = write!(text, "forward  {forward:30} {}", connections(count));
        let _ = match &forwarded.last_failure {
            Some(failure) => writeln!(text, "; the last failure: {failure}"),
            None => writeln!(text),
        };
    }
    for problem in &status.services.problems {
        let _ = writeln!(text, "problem  {problem}");
    }
    if text.is_empty() {
        text.push_str("nothing is exposed or forwarded\n");
    }
    text
}

fn connections(count: usize) -> String {
    match count {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    }
}

/// Exposes services, or ends that.
pub(crate) async fn expose(home: &Home, args: &ExposeArgs) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    for service in &args.remove {
        client.unexpose(service).await?;
        say(args.json, &format!("{service} is no longer exposed"))?;
    }
    let own = client.status().await?.membership.map(|own| own.name);
    for service in &args.services {
        client.expose(service.clone()).await?;
        let name = own.as_deref().unwrap_or("NAME");
        let line = format!(
            "exposed {service}; others reach it after `peerup forward PORT={}@{name}`",
            service.service
        );
        say(args.json, &line)?;
    }
    show(&client, args.json).await
}

/// Forwards local ports, or ends that.
pub(crate) async fn forward(home: &Home, args: &ForwardArgs) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    for port in &args.remove {
        client.unforward(*port).await?;
        say(args.json, &format!("port {port} is no longer forwarded"))?;
    }
    for forward in &args.forwards {
        client.forward(forward.clone()).await?;
        let (port, service, target) = (forward.port, &forward.service, &forward.target);
        say(
            args.json,
            &format!("127.0.0.1:{port} leads to {service} of {target}"),
        )?;
    }
    show(&client, args.json).await
}

fn say(json: bool, line: &str) -> Result<(), Failure> {
    if json {
        return Ok(());
    }
    out::text(&format!("{line}\n"))
}

async fn show(client: &Client, json: bool) -> Result<(), Failure> {
    if json {
        out::json(&client.services().await?)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use peerup_agent::{Exposed, Forwarded};

    use super::*;

    #[test]
    fn a_table_shows_connections_failures_and_problems() {
        let list = ServiceList {
            exposed: vec![Exposed {
                service: "http=8080".parse().unwrap(),
                connections: 1,
            }],
            forwards: vec![Forwarded {
                forward: "9000=http@web".parse().unwrap(),
                connections: 0,
                last_failure: Some("web: not reached".to_owned()),
            }],
        };
        let mut status = Status::starting(Timestamp::UNIX_EPOCH);
        let problem = "22=ssh@home: cannot listen on 127.0.0.1:22";
        status.services.problems.push(problem.to_owned());
        assert_eq!(
            table(&list, &status),
            "expose   http=8080                      1 connection\n\
             forward  9000=http@web                  0 connections; the last failure: web: not reached\n\
             problem  22=ssh@home: cannot listen on 127.0.0.1:22\n"
        );
        let nothing = Status::starting(Timestamp::UNIX_EPOCH);
        assert_eq!(
            table(&ServiceList::default(), &nothing),
            "nothing is exposed or forwarded\n"
        );
    }
}
