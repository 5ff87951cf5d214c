module peerup.dev/hack/probe

go 1.24.0
