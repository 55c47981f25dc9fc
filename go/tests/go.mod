module eggos.example/tests

go 1.16
