"""python -m segkit.toy.learn: train the toy networks that segkit ships."""

from segkit.toy.learn.train import main

if __name__ == "__main__":
    main()
