module github.com/eggos/eggos/go/bench

go 1.16
