// The custom resources of prometheus-operator, for the test of the chart's monitors.
module peerup.dev/hack/monitoring

go 1.26

require github.com/prometheus-operator/prometheus-operator v0.92.0
